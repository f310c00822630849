//! A bundle as a source of events.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use countersign_chain::CUT_EVENTS;
use countersign_ids::{Digest, LedgerId};
use sha2::{Digest as _, Sha256};

use super::events::Events;
use super::manifest::{FormName, Manifest, ManifestError};
use super::names::{self, Name};
use super::{COMPRESS_FROM_BYTES, FILE_BYTES_MAX, NODE_BYTES, TILE_NODES, WINDOW_LOG_MAX};
use crate::source::{Form, Kind, Source, SourceError, Stream, VisitNote, VisitTile, Wanted};
use crate::verdict::{Findings, Level};
use crate::zip::{Archive, OpenError};

/// An opened bundle.
#[derive(Debug)]
pub struct Bundle {
    path: String,
    archive: Archive,
    manifest: Manifest,
}

impl Bundle {
    /// Opens a bundle: zip framing and manifest are checked, nothing else.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let shown = path.display().to_string();
        let io = |error| SourceError::Io {
            path: shown.clone(),
            error,
        };
        let unreadable = |reason: String| SourceError::Unreadable {
            path: shown.clone(),
            reason,
        };
        let framing = |reason: String| SourceError::Framing {
            path: shown.clone(),
            reason,
        };
        let archive =
            Archive::open(File::open(path).map_err(io)?).map_err(|error| match error {
                OpenError::Io(error) => io(error),
                OpenError::Unreadable(reason) => unreadable(reason),
                OpenError::Framing(reason) => framing(reason),
            })?;
        let mut bytes = Vec::new();
        let Some(content) = archive.content("manifest.json") else {
            return Err(unreadable("it holds no manifest.json".to_owned()));
        };
        if archive
            .member("manifest.json")
            .is_some_and(|member| member.size > FILE_BYTES_MAX)
        {
            return Err(unreadable("its manifest is larger than 64 MiB".to_owned()));
        }
        content
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        let manifest = Manifest::parse(&bytes).map_err(|error| match error {
            ManifestError::Format(_) => unreadable(error.to_string()),
            ManifestError::Malformed(_) => framing(error.to_string()),
        })?;
        if !manifest.chains.contains_key("platform") {
            return Err(framing(
                "manifest.json names no chain `platform`".to_owned(),
            ));
        }
        Ok(Self {
            path: shown,
            archive,
            manifest,
        })
    }

    fn io(&self, error: io::Error) -> SourceError {
        SourceError::Io {
            path: self.path.clone(),
            error,
        }
    }

    /// CRC-32, length and SHA-256 of a member, in one pass over it.
    fn check_member(&self, name: &str, findings: &mut Findings) -> Result<(), SourceError> {
        let (Some(member), Some(mut content)) =
            (self.archive.member(name), self.archive.content(name))
        else {
            return Ok(());
        };
        let (mut crc, mut sha) = (crc32fast::Hasher::new(), Sha256::new());
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = content.read(&mut buffer).map_err(|error| self.io(error))?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            crc.update(bytes);
            sha.update(bytes);
        }
        if crc.finalize() != member.crc {
            findings.violation_of_source(
                Level::Framing,
                "crc",
                format!("`{name}` has another CRC-32"),
            );
        }
        let digest = Digest::from_bytes(sha.finalize().into());
        let said = self.manifest.files.get(name);
        if said.is_some_and(|said| said.bytes != member.size || said.digest != digest) {
            findings.violation_of_source(
                Level::Framing,
                "manifest",
                format!("`{name}` has other bytes than the manifest says"),
            );
        }
        Ok(())
    }

    /// Events of 64 MiB and more, and only they, are one zstd frame.
    fn check_compression(&self, name: &str) -> Result<Option<String>, SourceError> {
        let Some(Name::Events { chain, compressed }) = Name::parse(name) else {
            return Ok(None);
        };
        let plain = names::events(&chain);
        if !compressed {
            let large = self
                .archive
                .member(name)
                .is_some_and(|member| member.size >= COMPRESS_FROM_BYTES);
            return Ok(large.then(|| format!("`{name}` is 64 MiB or more and not compressed")));
        }
        let Some(content) = self
            .archive
            .content(name)
            .filter(|_| self.archive.member(&plain).is_none())
        else {
            return Ok(Some(format!("chain `{chain}` has its events twice")));
        };
        let decoder =
            zstd::Decoder::with_buffer(BufReader::new(content)).map_err(|error| self.io(error))?;
        let mut decoder = decoder.single_frame();
        decoder
            .window_log_max(WINDOW_LOG_MAX)
            .map_err(|error| self.io(error))?;
        let Ok(bytes) = io::copy(&mut decoder, &mut io::sink()) else {
            return Ok(Some(format!("`{name}` is not one zstd frame")));
        };
        let mut rest = decoder.finish();
        let whole = rest.fill_buf().map_err(|error| self.io(error))?.is_empty();
        Ok((!whole || bytes < COMPRESS_FROM_BYTES)
            .then(|| format!("`{name}` is not one zstd frame of 64 MiB or more")))
    }

    fn small(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(content) = self.archive.content(name) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        // One byte more than the limit, so that a file beyond it cannot pass for a shorter one.
        content
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| self.io(error))?;
        Ok(Some(bytes))
    }

    /// The lines of a chain, whether compressed or not.
    pub(super) fn lines(
        &self,
        chain: &str,
    ) -> Result<Option<Box<dyn BufRead + Send + '_>>, SourceError> {
        let plain = names::events(chain);
        if let Some(content) = self.archive.content(&plain) {
            return Ok(Some(Box::new(BufReader::with_capacity(1 << 16, content))));
        }
        let Some(content) = self.archive.content(&format!("{plain}.zst")) else {
            return Ok(None);
        };
        let decoder = zstd::Decoder::new(content).map_err(|error| self.io(error))?;
        let mut decoder = decoder.single_frame();
        decoder
            .window_log_max(WINDOW_LOG_MAX)
            .map_err(|error| self.io(error))?;
        Ok(Some(Box::new(BufReader::with_capacity(1 << 16, decoder))))
    }
}

impl Source for Bundle {
    fn path(&self) -> &str {
        &self.path
    }

    fn kind(&self) -> Kind {
        Kind::Bundle
    }

    fn ledger(&self) -> LedgerId {
        self.manifest.ledger
    }

    fn chains(&self) -> BTreeMap<String, (Form, Option<u64>)> {
        let known = |(chain, entry): (&String, &super::manifest::ChainEntry)| {
            let form = believed(chain, entry.form.known()?);
            Some((chain.clone(), (form, Some(entry.size))))
        };
        self.manifest.chains.iter().filter_map(known).collect()
    }

    fn check_framing(&mut self, _: usize, findings: &mut Findings) -> Result<(), SourceError> {
        let mut present = BTreeSet::new();
        self.check_member("manifest.json", findings)?;
        for member in self
            .archive
            .members()
            .filter(|member| member.name != "manifest.json")
        {
            let name = member.name.as_str();
            present.insert(name.to_owned());
            let belongs = match Name::parse(name) {
                None => Some(format!("`{name}` belongs in no bundle")),
                Some(
                    Name::Events { chain, .. }
                    | Name::Checkpoint { chain, .. }
                    | Name::Proof { chain, .. }
                    | Name::Tile { chain, .. },
                ) if !self.manifest.chains.contains_key(&chain) => Some(format!(
                    "`{name}` is of a chain that the manifest does not name"
                )),
                Some(_) if !self.manifest.files.contains_key(name) => {
                    Some(format!("`{name}` is not in the manifest"))
                }
                Some(_) => None,
            };
            let belongs = match belongs {
                None => self.check_compression(name)?,
                some => some,
            };
            if let Some(reason) = belongs {
                findings.violation_of_source(Level::Framing, "manifest", reason);
            }
            self.check_member(name, findings)?;
        }
        for name in self
            .manifest
            .files
            .keys()
            .filter(|name| !present.contains(*name))
        {
            let reason = format!("`{name}`, which the manifest names, is missing");
            findings.violation_of_source(Level::Framing, "manifest", reason);
        }
        for (chain, entry) in &self.manifest.chains {
            if chain.parse::<countersign_ids::ChainId>().is_err() {
                let reason = format!("the manifest names {chain:?}, which is no chain");
                findings.violation_of_source(Level::Framing, "manifest", reason);
            }
            if entry.form.known() == Some(Form::Sparse) && chain != "platform" {
                let reason = format!("chain `{chain}` is sparse, which only `platform` may be");
                findings.violation_of_source(Level::Framing, "form", reason);
            }
            if entry.form.known().is_none() {
                let reason = format!("chain `{chain}` has a form that is not known here");
                findings.missing_of_source(Level::Chain, "form", reason);
            }
        }
        Ok(())
    }

    fn tiles(&self, visit: &mut VisitTile<'_>) -> Result<(), SourceError> {
        for member in self.archive.members() {
            let Some(Name::Tile { chain, index }) = Name::parse(&member.name) else {
                continue;
            };
            let tile = self.small(&member.name)?.unwrap_or_default();
            let mut nodes = tile.chunks_exact(NODE_BYTES);
            let mut size = index.saturating_mul(TILE_NODES).saturating_mul(CUT_EVENTS);
            for node in &mut nodes {
                size = size.saturating_add(CUT_EVENTS);
                visit(&chain, size, node.try_into().unwrap_or_default());
            }
            if !nodes.remainder().is_empty() {
                // Part of a hash is a hash of nothing that is here.
                visit(&chain, size.saturating_add(CUT_EVENTS), [0; NODE_BYTES]);
            }
        }
        Ok(())
    }

    fn says_pruned(&self, chain: &str) -> Option<bool> {
        let said = self.manifest.chains.get(chain)?;
        Some(said.form == FormName::Pruned)
    }

    fn stream<'s>(&'s self, wanted: &'s Wanted<'s>) -> Result<Stream<'s>, SourceError> {
        let chains = order(&self.manifest.chains)
            .filter(|(chain, _)| wanted(chain))
            .filter_map(|(chain, entry)| {
                let form = believed(chain, entry.form.known()?);
                Some((chain.as_str(), (form == Form::Whole).then_some(entry.size)))
            });
        Ok(Box::new(Events::new(self, chains.collect())))
    }

    fn event_count(&self) -> Option<u64> {
        let sizes = self.manifest.chains.values().map(|entry| entry.size);
        Some(sizes.fold(0, u64::saturating_add))
    }

    fn checkpoints(&self, visit: &mut VisitNote<'_>) -> Result<(), SourceError> {
        for member in self.archive.members() {
            if let Some(Name::Checkpoint { chain, size }) = Name::parse(&member.name)
                && self.manifest.chains.contains_key(&chain)
                && let Some(note) = self.small(&member.name)?
            {
                visit(&chain, Some(size), &note)?;
            }
        }
        Ok(())
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, SourceError> {
        self.small(&names::blob(digest))
    }

    fn blob_names(&self) -> Vec<Digest> {
        let blob = |name: &str| match Name::parse(name) {
            Some(Name::Blob(digest)) => Some(digest),
            _ => None,
        };
        self.archive
            .members()
            .filter_map(|member| blob(&member.name))
            .collect()
    }

    fn proof(&self, chain: &str, sequence: u64) -> Result<Option<Vec<u8>>, SourceError> {
        self.small(&names::proof(chain, sequence))
    }

    fn heads_page(&self, sequence: u64) -> Result<Option<Vec<u8>>, SourceError> {
        self.small(&names::heads(sequence))
    }
}

/// Only `platform` may be sparse: any other chain is read as a whole one, whatever the manifest says.
fn believed(chain: &str, form: Form) -> Form {
    if chain == "platform" {
        form
    } else {
        Form::Whole
    }
}

/// Platform first, then by name; a tenant's heartbeats come after the tenant, whose name is a prefix of theirs.
fn order<T>(chains: &BTreeMap<String, T>) -> impl Iterator<Item = (&String, &T)> {
    let platform = chains.iter().filter(|(chain, _)| *chain == "platform");
    platform.chain(chains.iter().filter(|(chain, _)| *chain != "platform"))
}
