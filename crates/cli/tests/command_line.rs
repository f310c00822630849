//! The binary from outside, without a server: exit codes, streams, completions.

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    fn run(arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(arguments);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("COUNTERSIGN_")) {
            command.env_remove(name);
        }
        command.output().unwrap()
    }

    #[test]
    fn wrong_usage_is_64_and_help_is_data() {
        for wrong in [
            &["frobnicate"][..],
            &["show"],
            &["queue"],
            &["serve"],
            &["approve", "a1", "--server", "http://x"],
        ] {
            let output = run(wrong);
            assert_eq!(
                output.status.code(),
                Some(64),
                "{wrong:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(output.stdout.is_empty(), "{wrong:?}");
        }
        for help in [
            &["--help"][..],
            &["replay", "--help"],
            &["connector", "pair", "--help"],
            &["--version"],
        ] {
            let output = run(help);
            assert!(output.status.success(), "{help:?}");
            assert!(!output.stdout.is_empty(), "{help:?}");
        }
    }

    #[test]
    fn a_server_that_does_not_answer_is_2_and_says_so() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command
            .args(["queue", "--json", "--server", &address, "--tenant", "t"])
            .env("COUNTERSIGN_TOKEN", "x");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert!(
            error["error"]["message"]
                .as_str()
                .unwrap()
                .contains("does not answer"),
            "{error}"
        );
    }

    #[test]
    fn a_key_is_made_private_shown_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("alice.pem");
        let file = file.to_str().unwrap();
        let made = run(&["key", "new", file, "--json"]);
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        assert_eq!(
            std::fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(run(&["key", "show", file, "--json"]).stdout, made.stdout);
        assert!(!run(&["key", "new", file]).status.success());
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let exposed = run(&["key", "show", file]);
        assert_eq!(exposed.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&exposed.stderr).contains("key-exposed"));
    }

    #[test]
    fn settings_are_shown_with_their_sources_and_secrets_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let (file, profile) = (
            directory.path().join("countersign.toml"),
            directory.path().join("profile.toml"),
        );
        std::fs::write(&file, "data = '/srv/ledger'\nheads_age = '90s'\n").unwrap();
        std::fs::write(&profile, "server = 'http://one'\ntoken_file = 'token'\n").unwrap();
        std::fs::write(directory.path().join("token"), "csk_t1_in-the-file").unwrap();
        let shown = |json: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
            command
                .args(["config", "show", "--listen", "127.0.0.1:9"])
                .args(["--config", file.to_str().unwrap()])
                .args(["--profile", profile.to_str().unwrap()])
                .args(json)
                .env("COUNTERSIGN_DRAIN", "3s")
                .env("COUNTERSIGN_TOKEN", "csk_t1_in-the-environment")
                .env_remove("RUST_LOG");
            let output = command.output().unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        };
        let (text, json) = (shown(&[]), shown(&["--json"]));
        for secret in ["in-the-file", "in-the-environment"] {
            assert!(!text.contains(secret) && !json.contains(secret), "{text}");
        }
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let found = |list: &str, name: &str| {
            let all = json[list].as_array().unwrap();
            let one = all.iter().find(|one| one["name"] == name).unwrap();
            (one["value"].clone(), one["source"].clone())
        };
        for (list, name, value, source) in [
            ("serve", "data", "/srv/ledger", "file"),
            ("serve", "genesis_key", "/srv/genesis.pem", "default"),
            ("serve", "listen", "127.0.0.1:9", "flag"),
            ("serve", "heads_age", "90s", "file"),
            ("serve", "drain", "3s", "environment"),
            ("serve", "log", "info", "default"),
            ("call", "server", "http://one", "file"),
            ("call", "token", "(set, not shown)", "environment"),
        ] {
            assert_eq!(found(list, name), (value.into(), source.into()), "{name}");
            assert!(text.contains(value), "{text}");
        }
    }

    #[test]
    fn every_shell_gets_completions() {
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let output = run(&["completions", shell]);
            assert!(output.status.success(), "{shell}");
            assert!(
                String::from_utf8_lossy(&output.stdout).contains("rollback"),
                "{shell}"
            );
        }
    }
}
