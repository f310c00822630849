//! The names of a bundle's members.

use countersign_ids::{ChainId, Digest, Sequence};

/// What a member of a bundle is, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// `README.txt`
    Readme,
    /// `manifest.json`
    Manifest,
    /// `events/<chain>.jsonl`, or `.jsonl.zst`
    Events {
        /// The chain.
        chain: String,
        /// Whether it is one zstd frame.
        compressed: bool,
    },
    /// `checkpoints/<chain>/<20 digits>.note`
    Checkpoint {
        /// The chain.
        chain: String,
        /// The size it is named after.
        size: u64,
    },
    /// `blobs/sha256/<64 hex>`
    Blob(Digest),
    /// `proofs/<chain>/<20 digits>.tlog-proof`
    Proof {
        /// The chain.
        chain: String,
        /// The event.
        sequence: u64,
    },
    /// `heads/<20 digits>.json`
    Heads(u64),
    /// `tiles/<chain>/<20 digits>.tile`
    Tile {
        /// The chain.
        chain: String,
        /// Which one of its level, from the left.
        index: u64,
    },
}

impl Name {
    /// Reads a name; none where it belongs in no bundle.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "README.txt" {
            return Some(Self::Readme);
        }
        if name == "manifest.json" {
            return Some(Self::Manifest);
        }
        let (folder, rest) = name.split_once('/')?;
        match folder {
            "events" => {
                let (plain, compressed) = match rest.strip_suffix(".zst") {
                    Some(plain) => (plain, true),
                    None => (rest, false),
                };
                Some(Self::Events {
                    chain: chain(plain.strip_suffix(".jsonl")?)?,
                    compressed,
                })
            }
            "checkpoints" => {
                let (owner, file) = rest.split_once('/')?;
                Some(Self::Checkpoint {
                    chain: chain(owner)?,
                    size: digits(file.strip_suffix(".note")?)?,
                })
            }
            "blobs" => {
                let hex = rest.strip_prefix("sha256/")?;
                Some(Self::Blob(format!("sha256:{hex}").parse().ok()?))
            }
            "proofs" => {
                let (owner, file) = rest.split_once('/')?;
                Some(Self::Proof {
                    chain: chain(owner)?,
                    sequence: digits(file.strip_suffix(".tlog-proof")?)?,
                })
            }
            "tiles" => {
                let (owner, file) = rest.split_once('/')?;
                Some(Self::Tile {
                    chain: chain(owner)?,
                    index: digits(file.strip_suffix(".tile")?)?,
                })
            }
            "heads" => Some(Self::Heads(digits(rest.strip_suffix(".json")?)?)),
            _ => None,
        }
    }
}

fn chain(text: &str) -> Option<String> {
    text.parse::<ChainId>().ok().map(|chain| chain.to_string())
}

fn digits(text: &str) -> Option<u64> {
    text.parse::<Sequence>().ok().map(Sequence::get)
}

/// `events/<chain>.jsonl`
pub fn events(chain: &str) -> String {
    format!("events/{chain}.jsonl")
}

/// `checkpoints/<chain>/<20 digits>.note`
pub fn checkpoint(chain: &str, size: u64) -> String {
    format!("checkpoints/{chain}/{size:020}.note")
}

/// `blobs/sha256/<64 hex>`
pub fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// `proofs/<chain>/<20 digits>.tlog-proof`
pub fn proof(chain: &str, sequence: u64) -> String {
    format!("proofs/{chain}/{sequence:020}.tlog-proof")
}

/// `tiles/<chain>/<20 digits>.tile`
pub fn tile(chain: &str, index: u64) -> String {
    format!("tiles/{chain}/{index:020}.tile")
}

/// `heads/<20 digits>.json`
pub fn heads(sequence: u64) -> String {
    format!("heads/{sequence:020}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_nothing_else_is_a_name() {
        let digest: Digest = format!("sha256:{}", "0a".repeat(32)).parse().unwrap();
        for name in [
            events("acme.beats"),
            format!("{}.zst", events("acme")),
            checkpoint("platform", 12),
            blob(&digest),
            proof("platform", 3),
            heads(9),
            tile("acme.beats", 0),
            "README.txt".to_owned(),
            "manifest.json".to_owned(),
        ] {
            assert!(Name::parse(&name).is_some(), "{name}");
        }
        for name in [
            "",
            "readme.txt",
            "events/",
            "events/ACME.jsonl",
            "events/../x.jsonl",
            "events/acme.json",
            "checkpoints/acme/12.note",
            "checkpoints/acme/99999999999999999999.note",
            "blobs/sha256/0A",
            "blobs/0a",
            "proofs/platform.tlog-proof",
            "heads/x.json",
            "tiles/acme/0",
        ] {
            assert_eq!(Name::parse(name), None, "{name}");
        }
    }
}
