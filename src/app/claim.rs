//! Finds out which installation owns a storage's place. Invariant: it only reads; the result depends on the claims and
//! manifests there, and on the catalog's own entries.
//!
//! A claim is a small object with a number, an installation's id and a random token. Each process makes the next one
//! before it stores anything. Thus, of two hosts with copies of one state folder, the one that worked first finds a
//! claim that it did not make. Only one of two can create a number, even if both are new and begin in the same second;
//! a service without conditional writes cannot guarantee that, and there the claim is read back.
//!
//! Installations that have shared a place since version 0.1 may continue: the first has the claim, and a copied state
//! folder of the others is not detected.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, CatalogError, HeldClaim};
use crate::copy::MAX_MANIFEST_BYTES;
use crate::quote::foreign;
use crate::store::{Listing, Store, StoreError, StoreErrorKind, read_small};
use crate::types::{KeyKind, ObjectKey};

/// Number of manifests, the newest ones, that determine the owner of a place without a claim.
const LOOKED_AT: usize = 3;

/// Upper bound for ids and host names of others in messages, in characters.
const MOST_NAME_CHARS: usize = 80;

/// A claim as stored in a storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// The installation that made it.
    pub(super) instance: String,
    /// Random text that no other claim has.
    pub(super) token: String,
    /// Host on which it was made, for people.
    pub(super) host: String,
}

/// This installation's own data about one storage.
pub(super) struct Own {
    pub(super) instance: String,
    /// The last claim that its catalog made.
    pub(super) claim: HeldClaim,
    /// True if it has copies there.
    pub(super) has_copies: bool,
}

/// Owner of a place.
pub(super) enum Place {
    /// This installation, or none: its next claim has this number.
    Ours {
        /// The number.
        next: u64,
        /// Claims that the next one replaces.
        old: Vec<ObjectKey>,
    },
    /// Another installation claimed it, and this one has older copies there.
    Shared,
    /// Another installation.
    Taken(Owner),
}

/// Another installation or process that works in a place.
pub(super) struct Owner {
    /// The object that shows it.
    pub(super) by: ObjectKey,
    who: Who,
}

enum Who {
    /// Another installation, identified by its newest copy.
    Installation { instance: String, newest: ObjectKey },
    /// Another installation, identified by its claim.
    Claimed(Claim),
    /// Another host with a copy of this state folder.
    Host(Claim),
}

impl Own {
    /// Reads the data from `catalog`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn of(catalog: &Catalog, storage: &str) -> Result<Self, CatalogError> {
        Ok(Self {
            instance: catalog.instance()?,
            claim: catalog.held_claim(storage)?,
            has_copies: catalog.has_own_in(storage)?,
        })
    }

    /// Returns the data of an installation that has stored nothing yet, and whose id is not known.
    pub(super) fn nobody(name: &str) -> Self {
        Self {
            instance: name.to_owned(),
            claim: HeldClaim::default(),
            has_copies: false,
        }
    }

    fn made(&self, claim: &Claim) -> bool {
        self.claim.pending.as_ref() == Some(&claim.token)
    }

    /// Returns the owner of a claim that this catalog did not make.
    pub(super) fn owner(&self, by: ObjectKey, claim: Claim) -> Owner {
        let who = match claim.instance == self.instance {
            true => Who::Host(claim),
            false => Who::Claimed(claim),
        };
        Owner { by, who }
    }
}

impl Owner {
    /// Returns the reason that nothing is stored there, with hints.
    pub(super) fn refusal(&self) -> StoreErrorKind {
        const OWN_PLACE: &str = "give this installation a place of its own: another `prefix`, `bucket` or `directory`; if it \
                                 is the same installation and only its state folder was lost, `patina rebuild` goes on with \
                                 those copies";
        let shown = |text: &str| foreign(text, MOST_NAME_CHARS);
        let (cause, hint) = match &self.who {
            Who::Installation { instance, newest } => (
                format!(
                    "this place belongs to another installation of Patina (`{}`; its newest copy is {newest}), and two never \
                     share one",
                    shown(instance)
                ),
                OWN_PLACE.to_owned(),
            ),
            Who::Claimed(claim) => (
                format!(
                    "this place belongs to another installation of Patina (`{}`, on the host `{}`), and two never share one",
                    shown(&claim.instance),
                    shown(&claim.host)
                ),
                format!(
                    "{OWN_PLACE}; if there are no copies, and that installation is gone, remove `{}` from this place",
                    self.by
                ),
            ),
            Who::Host(claim) => (
                format!(
                    "another process works here with a copy of this state folder, on the host `{}`: of two that both store \
                     and delete as one installation neither knows what the other does",
                    shown(&claim.host)
                ),
                "stop one of them. Where this one is to go on, `patina rebuild` takes in what the other one stored; where the \
                 other one is, give this one an empty `[agent] state` and another `prefix`, `bucket` or `directory`"
                    .to_owned(),
            ),
        };
        StoreErrorKind::Refused { cause, hint }
    }
}

/// Finds out which installation owns the place of `store`. With a known claim, this takes two small requests; without
/// one it lists everything.
pub(super) async fn find(store: &dyn Store, own: &Own) -> Result<Place, StoreError> {
    let known = own.claim.number;
    let held = ObjectKey::claim(known);
    if known > 0 {
        let next = ObjectKey::claim(known + 1);
        match read(store, &next).await? {
            Some(claim) if own.made(&claim) => {
                let old = vec![held, next];
                let next = known + 2;
                return Ok(Place::Ours { next, old });
            }
            Some(claim) => return Ok(Place::Taken(own.owner(next, claim))),
            None => {}
        }
        if store.stat(&held).await?.is_some() {
            let (next, old) = (known + 1, vec![held]);
            return Ok(Place::Ours { next, old });
        }
    }
    // Another owner removed it, or the place is a different one than before.
    let listing = store.list().await?;
    let Some((last, claim)) = last_claim(store, &listing).await? else {
        return Ok(match owner_of(store, &listing, &own.instance).await? {
            Some(owner) if !own.has_copies => Place::Taken(owner),
            _ => ours(known, &listing),
        });
    };
    let KeyKind::Claim { number } = *last.kind() else {
        return Ok(ours(known, &listing));
    };
    let is_ours = claim.instance == own.instance && (known == 0 || number <= known);
    Ok(match () {
        () if is_ours || own.made(&claim) => ours(known.max(number), &listing),
        () if claim.instance != own.instance && own.has_copies => Place::Shared,
        () => Place::Taken(own.owner(last, claim)),
    })
}

fn ours(last: u64, listing: &Listing) -> Place {
    Place::Ours {
        next: last + 1,
        old: listing.claims.clone(),
    }
}

/// Reads the claim under `key`. `None` if there is no readable claim.
pub(super) async fn read(store: &dyn Store, key: &ObjectKey) -> Result<Option<Claim>, StoreError> {
    let text = read_small(store, key, MAX_MANIFEST_BYTES).await?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
}

/// Returns the readable claim with the highest number.
async fn last_claim(
    store: &dyn Store,
    listing: &Listing,
) -> Result<Option<(ObjectKey, Claim)>, StoreError> {
    for key in listing.claims.iter().rev() {
        if let Some(claim) = read(store, key).await? {
            return Ok(Some((key.clone(), claim)));
        }
    }
    Ok(None)
}

/// Returns the owner of a place without a claim. `None` if it is empty, or contains an object of `instance`.
async fn owner_of(
    store: &dyn Store,
    listing: &Listing,
    instance: &str,
) -> Result<Option<Owner>, StoreError> {
    let manifests = listing.objects.iter().filter_map(|(key, _)| {
        let KeyKind::Manifest { of } = key.kind() else {
            return None;
        };
        Some((of.as_ref().clone(), key.clone()))
    });
    let mut manifests: Vec<(ObjectKey, ObjectKey)> = manifests.collect();
    // The key of a daily copy begins with its day, and sorts before that of a weekly archive.
    manifests.sort_by_key(|(of, _)| Reverse((is_daily(of), of.clone())));
    let mut owner = None;
    for (newest, by) in manifests.into_iter().take(LOOKED_AT) {
        let text = read_small(store, &by, MAX_MANIFEST_BYTES).await?;
        let Some(found) = text.as_deref().and_then(instance_in) else {
            continue;
        };
        if found == instance {
            return Ok(None);
        }
        let instance = found;
        let who = Who::Installation { instance, newest };
        owner.get_or_insert(Owner { by, who });
    }
    Ok(owner)
}

fn is_daily(key: &ObjectKey) -> bool {
    matches!(key.kind(), KeyKind::Daily { .. })
}

fn instance_in(manifest: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Written {
        instance: String,
    }
    let written: Written = serde_json::from_slice(manifest).ok()?;
    Some(written.instance)
}
