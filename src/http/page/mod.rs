//! Renders the dashboard. Invariant: the page is a pure function of an overview and has no inline scripts or styles, so
//! that `default-src 'self'` suffices as its content policy.

mod assets;
mod chart;
mod strip;
mod view;

use askama::Template as _;

use crate::overview::Overview;
use crate::quote;

pub use assets::{Asset, asset};

/// The `Content-Security-Policy` of the page and everything it loads.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'; object-src 'none'";

/// Renders the dashboard as one HTML document.
pub fn render(overview: &Overview) -> String {
    let page = view::Page::of(overview)
        .render()
        .expect("a string takes everything that is written to it");
    // The template escaped HTML; hidden characters are escaped here.
    quote::lines(&page).into_owned()
}
