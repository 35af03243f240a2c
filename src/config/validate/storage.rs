//! Checks `[[storage]]` and `[cloudflare]`.

use std::collections::HashMap;
use std::ops::Range;

use super::Checker;
use crate::config::model::{Cloudflare, S3, Storage, StorageKind};
use crate::config::raw::{At, RawCloudflare, RawS3, RawStorage};

const API_URL: &str = "https://api.cloudflare.com/client/v4";

const EITHER: &str = "write either `directory = \"…\"` or a `[storage.s3]` section";

impl Checker<'_> {
    pub(super) fn storages(&mut self, raw: &[At<RawStorage>]) -> Vec<Storage> {
        if raw.is_empty() {
            return vec![Storage {
                name: "local".to_owned(),
                kind: StorageKind::Directory(self.sources.folder(0).join("backups")),
            }];
        }
        let mut seen = HashMap::new();
        raw.iter()
            .filter_map(|raw| self.storage(raw, &mut seen))
            .collect()
    }

    fn storage(
        &mut self,
        raw: &At<RawStorage>,
        seen: &mut HashMap<String, Range<usize>>,
    ) -> Option<Storage> {
        let name = self.name(&raw.span, "name", &raw.value.name, seen);
        let kind = match (&raw.value.directory, &raw.value.s3) {
            (None, None) => {
                let message = "a storage needs a `directory` or an `s3` section";
                self.findings.absent(raw.span.clone(), message, EITHER);
                None
            }
            (Some(directory), Some(s3)) => {
                self.error(&s3.span, "a storage cannot be a directory and a bucket")
                    .hint(EITHER)
                    .also(directory.span.clone(), "directory given");
                None
            }
            (Some(directory), None) if directory.value.trim().is_empty() => {
                self.error(&directory.span, "`directory` is empty")
                    .hint("name a folder, such as `./backups`");
                None
            }
            (Some(directory), None) => Some(StorageKind::Directory(self.path(directory))),
            (None, Some(s3)) => self.s3(s3).map(StorageKind::S3),
        };
        Some(Storage {
            name: name?,
            kind: kind?,
        })
    }

    fn s3(&mut self, raw: &At<RawS3>) -> Option<S3> {
        let (table, raw) = (&raw.span, &raw.value);
        let region = raw
            .region
            .as_ref()
            .map_or("auto".to_owned(), |region| region.value.clone());
        let bucket = self.required(table, "bucket", &raw.bucket, "name the bucket");
        let endpoint = match &raw.endpoint {
            Some(endpoint) => Some(self.url("endpoint", endpoint)),
            None if region != "auto" => Some(format!("https://s3.{region}.amazonaws.com")),
            None => {
                let hint = "for R2 write `https://<account>.r2.cloudflarestorage.com`; for AWS a `region` is enough";
                self.findings
                    .absent(table.clone(), "`endpoint` is missing", hint);
                None
            }
        };
        let hint = "write `env:NAME`, `file:/path` or `cred:NAME`";
        let id = self
            .required(table, "access_key_id", &raw.access_key_id, hint)
            .and_then(|raw| self.secret("access_key_id", &raw));
        let secret = self
            .required(table, "secret_access_key", &raw.secret_access_key, hint)
            .and_then(|raw| self.secret("secret_access_key", &raw));
        let prefix = self.prefix(&raw.prefix);
        Some(S3 {
            endpoint: endpoint?,
            bucket: bucket?.value,
            region,
            prefix,
            access_key_id: id?,
            secret_access_key: secret?,
        })
    }

    fn prefix(&mut self, raw: &Option<At<String>>) -> String {
        let Some(raw) = raw else {
            return String::new();
        };
        let text = raw.value.trim_end_matches('/');
        let strange = text.starts_with('/')
            || text.split('/').any(|part| part == ".." || part == ".")
            || text.chars().any(|c| c.is_control() || c == '\\');
        if strange || (text.is_empty() && !raw.value.is_empty()) || text.contains("//") {
            self.error(&raw.span, format!("`prefix` cannot be `{}`", raw.value))
                .hint("write it like a folder without a slash in front: `grove/backups`");
        }
        if text.is_empty() {
            return String::new();
        }
        format!("{text}/")
    }

    pub(super) fn cloudflare(&mut self, raw: &At<RawCloudflare>) -> Option<Cloudflare> {
        let (table, raw) = (&raw.span, &raw.value);
        let account = self
            .required(
                table,
                "account_id",
                &raw.account_id,
                "write `env:CLOUDFLARE_ACCOUNT_ID`",
            )
            .and_then(|raw| self.reference("account_id", &raw));
        let token = self
            .required(
                table,
                "api_token",
                &raw.api_token,
                "write `env:CLOUDFLARE_API_TOKEN`",
            )
            .and_then(|raw| self.secret("api_token", &raw));
        let api_url = match &raw.api_url {
            Some(url) => self.url("api_url", url),
            None => API_URL.to_owned(),
        };
        Some(Cloudflare {
            account_id: account?,
            api_token: token?,
            api_url,
        })
    }
}
