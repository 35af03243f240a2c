//! Serves the dashboard at `GET /`, its assets, and `GET /metrics`.

use axum::extract::{Extension, OriginalUri, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, VARY,
};
use axum::response::{IntoResponse, Response};

use super::answer::Refusal;
use super::call::Call;
use super::standing::Told;
use super::{Api, about, metrics, page};

/// Assets never change: the path contains a digest of the content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Serves the dashboard to clients that prefer HTML, and the JSON description to all others.
pub(super) async fn home(
    State(api): State<Api>,
    Extension(call): Extension<Call>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let vary = [(VARY, "Accept")];
    if !prefers(&headers, "text/html") {
        return Ok((vary, about::about(Extension(call)).await).into_response());
    }
    let told = api.tell(&call, Told::Page, |overview, _| Ok(page::render(overview)));
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
    ];
    Ok((vary, headers, told.await?).into_response())
}

/// Serves an asset of the page.
pub(super) async fn asset(OriginalUri(uri): OriginalUri) -> Result<Response, Refusal> {
    let unknown = || Refusal::unknown("no such asset; reload the page");
    let asset = page::asset(uri.path()).ok_or_else(unknown)?;
    let headers = [
        (CONTENT_TYPE, asset.content_type),
        (CACHE_CONTROL, FOR_EVER),
        (CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
    ];
    Ok((headers, asset.body).into_response())
}

/// Serves the metrics for Prometheus.
pub(super) async fn numbers(
    State(api): State<Api>,
    Extension(call): Extension<Call>,
) -> Result<Response, Refusal> {
    let overview = api.overview(&call).await?;
    let vitals = (api.0.sources.vitals)();
    let text = metrics::render(&overview, &call.wiring.config, &vitals);
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// True if the client names this type and prefers it to JSON; a client that accepts `*/*` counts as a program.
pub(super) fn prefers(headers: &HeaderMap, content_type: &str) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    let accepted: Vec<&str> = accepted.filter_map(|value| value.to_str().ok()).collect();
    let weight = |wanted: &str| {
        let ranges = accepted.iter().flat_map(|value| value.split(','));
        let weights = ranges.filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts
                .next()
                .filter(|name| name.eq_ignore_ascii_case(wanted));
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
            name.map(|_| weight.unwrap_or(1.0))
        });
        weights.fold(0.0, f32::max)
    };
    weight(content_type) > weight("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_likes_html_better_gets_the_page() {
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("application/json", false),
            ("application/json, text/html", false),
            ("text/html;q=0.5, application/json", false),
            ("text/html;q=0", false),
            ("text/html", true),
            ("TEXT/HTML ; q=0.9, */*;q=0.8", true),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
                true,
            ),
            ("application/json;q=0.4, text/html;q=0.5", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(prefers(&headers, "text/html"), expected, "{accept}");
        }
        assert!(!prefers(&HeaderMap::new(), "text/html"));
    }
}
