//! Lists every route on one page. Invariant: each route declares the authorization that it needs; a route without one
//! cannot be written.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;

use super::answer::{Json, Refusal};
use super::auth::{self, Needs};
use super::call::MOST_BODY_BYTES;
use super::{Api, call, dashboard, download, events, guides, jobs, list, openapi, status, trigger};
use crate::config::{Opening, Scope};

/// A route, for documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// `GET` or `POST`; a route that answers `GET` also answers `HEAD`.
    pub method: &'static str,
    /// Path, with variable parts in braces.
    pub path: &'static str,
    /// Summary of the response.
    pub summary: &'static str,
}

struct Route {
    endpoint: Endpoint,
    needs: Needs,
    handler: MethodRouter<Api>,
}

const READ: Needs = Needs::Scope(Scope::Read, None);
const DOWNLOAD: Needs = Needs::Scope(Scope::Download, None);
const METRICS: Needs = Needs::Scope(Scope::Metrics, Some(Opening::Metrics));
const TRIGGER: Needs = Needs::Scope(Scope::Trigger, None);
const HOME: Needs = Needs::Scope(Scope::Read, Some(Opening::Dashboard));
const STATUS: Needs = Needs::Scope(Scope::Read, Some(Opening::Status));
const LIST: Needs = Needs::Scope(Scope::Read, Some(Opening::List));
const JOBS: Needs = Needs::Scope(Scope::Read, Some(Opening::Jobs));
const EVENTS: Needs = Needs::Scope(Scope::Read, Some(Opening::Events));

/// Returns every route.
#[rustfmt::skip]
fn routes() -> Vec<Route> {
    vec![
        route("GET", "/", HOME, "This documentation", get(dashboard::home)),
        route("GET", "/status", STATUS, "Current backup status and recent history", get(status::status)),
        route("GET", "/list", LIST, "List all available backups", get(list::list)),
        route("POST", "/trigger", TRIGGER, "Manually trigger a backup", post(trigger::trigger)),
        route("GET", "/jobs/{id}", JOBS, "One job and what became of each database", get(jobs::job)),
        route("GET", "/events", EVENTS, "Live progress as server-sent events", get(events::events)),
        route("GET", "/download/{date}/{db}", DOWNLOAD, "Download a specific backup", get(download::download)),
        route("GET", "/restore-guide/{db}", READ, "Get restore instructions for a database", get(guides::guide)),
        route("GET", "/runbook", READ, "What to do when more than one database is lost", get(guides::runbook)),
        route("GET", "/metrics", METRICS, "The numbers as OpenMetrics text", get(dashboard::numbers)),
        route("GET", "/assets/{digest}/{file}", Needs::Nothing, "What the dashboard's page loads", get(dashboard::asset)),
        route("GET", "/openapi.json", Needs::Nothing, "This API as an OpenAPI document", get(openapi::document)),
        route("GET", "/healthz", Needs::Nothing, "Whether the process answers", get(healthz)),
    ]
}

fn route(
    method: &'static str,
    path: &'static str,
    needs: Needs,
    summary: &'static str,
    handler: MethodRouter<Api>,
) -> Route {
    let endpoint = Endpoint {
        method,
        path,
        summary,
    };
    Route {
        endpoint,
        needs,
        handler,
    }
}

/// Returns every route, for the documents and their tests.
pub fn endpoints() -> Vec<Endpoint> {
    routes().into_iter().map(|route| route.endpoint).collect()
}

/// Builds the router with all its layers.
pub(super) fn router(api: Api) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let state = (api.clone(), route.needs);
        let guard = middleware::from_fn_with_state(state, auth::require);
        router = router.route(route.endpoint.path, route.handler.layer(guard));
    }
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .layer(CatchPanicLayer::custom(broken))
        .layer(middleware::from_fn_with_state(api.clone(), call::look))
        .with_state(api)
}

async fn healthz() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

async fn no_such_path() -> Refusal {
    Refusal::unknown("there is no such path; GET / lists those there are")
}

async fn wrong_method(request: Request) -> Refusal {
    let message = format!("this path does not answer {}", request.method());
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
}

/// Answers a panic in a handler: only its own request fails.
fn broken(_: Box<dyn std::any::Any + Send>) -> Response {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Refusal::new(status, "internal", "something went wrong; the log has more").into_response()
}
