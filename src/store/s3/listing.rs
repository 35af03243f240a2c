//! Lists the bucket completely. Invariant: a listing that is not provably complete is an error.

use std::collections::HashSet;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;

use super::super::Listing;
use super::bucket::{Bucket, stat_of};
use super::error::Refusal;
use crate::types::counted;

/// Upper bound for pages: ten million objects; a service that returns more is going in circles.
const MOST_PAGES: usize = 10_000;

pub(super) async fn run(bucket: &Bucket) -> Result<Listing, Refusal> {
    let mut listing = Listing::default();
    let mut tokens = HashSet::new();
    let mut token = None;
    for _ in 0..MOST_PAGES {
        let page = page(bucket, token).await?;
        token = next_token(&page)?;
        take(bucket, page, &mut listing)?;
        match &token {
            None => return in_order(listing),
            Some(next) if !tokens.insert(next.clone()) => {
                return Err(Refusal::odd(
                    "the listing goes in circles: a page came twice",
                ));
            }
            Some(_) => {}
        }
    }
    Err(Refusal::odd(format!(
        "the listing has more than {MOST_PAGES} pages"
    )))
}

async fn page(bucket: &Bucket, token: Option<String>) -> Result<ListObjectsV2Output, Refusal> {
    let asked = bucket.client.list_objects_v2().bucket(&bucket.bucket_name);
    let asked = asked.prefix(&bucket.prefix).set_continuation_token(token);
    asked.send().await.map_err(|error| bucket.refusal(&error))
}

/// Returns the token of the next page; `None` after the last page.
fn next_token(page: &ListObjectsV2Output) -> Result<Option<String>, Refusal> {
    let token = page.next_continuation_token.clone();
    let token = token.filter(|token| !token.is_empty());
    match (page.is_truncated, token) {
        (Some(false), None) => Ok(None),
        (Some(true), Some(token)) => Ok(Some(token)),
        (truncated, token) => Err(Refusal::odd(format!(
            "a page of the listing says {} and gives {} next one",
            match truncated {
                Some(true) => "that more follow",
                Some(false) => "that it is the last",
                None => "not whether more follow",
            },
            if token.is_some() { "a" } else { "no" },
        ))),
    }
}

fn take(bucket: &Bucket, page: ListObjectsV2Output, listing: &mut Listing) -> Result<(), Refusal> {
    let (said, found) = (page.key_count, page.contents().len());
    if said.is_some_and(|said| usize::try_from(said) != Ok(found)) {
        return Err(Refusal::odd(format!(
            "a page of the listing says {} and has {found}",
            counted(said.unwrap_or_default(), "key")
        )));
    }
    for object in page.contents.into_iter().flatten() {
        let path = object.key.unwrap_or_default();
        if !path.starts_with(&bucket.prefix) {
            return Err(Refusal::odd("the listing names what was not asked for"));
        }
        match bucket.key(&path) {
            Some(key) => {
                let stat = stat_of(object.size, object.last_modified)?;
                listing.add(key, stat);
            }
            None => listing.foreign += 1,
        }
    }
    Ok(())
}

fn in_order(mut listing: Listing) -> Result<Listing, Refusal> {
    listing.sort();
    let twice = listing.objects.windows(2).find(|two| two[0].0 == two[1].0);
    match twice {
        Some(two) => Err(Refusal::odd(format!(
            "the listing names `{}` twice",
            two[0].0
        ))),
        None => Ok(listing),
    }
}
