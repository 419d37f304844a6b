//! The command line: what it prints and the exit codes it ends with.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Server, json_of, matrix, npy, run, stderr};

const SMALL: &str = r#"{"Y":[[1,0],[0.9,0.1],[0,1]],"psi":[1,0.2],"options":{"bundle_k":2}}"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn help_tells_what_there_is_and_what_exit_codes_mean() {
    let help = run(|c| {
        c.arg("--help");
    });
    let text = String::from_utf8_lossy(&help.stdout);
    for word in [
        "demo",
        "serve",
        "solve",
        "submit",
        "verify",
        "Examples:",
        "Exit codes:",
    ] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    for command in [
        "demo", "serve", "solve", "submit", "get", "wait", "cancel", "list", "keys", "verify",
    ] {
        let help = run(|c| {
            c.args([command, "--help"]);
        });
        assert_eq!(code(&help), Some(0), "{command}");
        let text = String::from_utf8_lossy(&help.stdout);
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{command}:\n{text}"
        );
    }
}

#[test]
fn usage_errors_are_2_and_name_what_is_wrong() {
    for args in [
        &["dance"][..],
        &["solve"],
        &["solve", "x.npy", "--psi-row", "first"],
        &["list", "--server", "ftp://x"],
        &["list", "--server", "localhost:8080"],
    ] {
        assert_eq!(
            code(&run(|c| {
                c.args(args);
            })),
            Some(2),
            "{args:?}"
        );
    }
    for (name, value) in [
        ("PORT", "http"),
        ("OSCILLINK_MAX_NODES", "0"),
        ("OSCILLINK_BACKEND", "x"),
        ("OSCILLINK_WORKER_THREADS", "100000000"),
        ("OSCILLINK_INLINE_THREADS", "100000000"),
        ("OSCILLINK_INLINE_CONCURRENCY", "1025"),
    ] {
        let output = run(|c| {
            c.arg("serve")
                .env(name, value)
                .env("OSCILLINK_DATA_DIR", "/nonexistent/never");
        });
        assert_eq!(code(&output), Some(2));
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
    }
}

#[test]
fn a_folder_that_cannot_hold_data_is_a_setting_at_fault_and_told_once() {
    for (folder, args) in [
        ("/proc/x", &["serve", "--port", "0"][..]),
        ("/dev/null", &["serve", "--port", "0"]),
        ("/proc/x", &["keys", "create"]),
        ("/dev/null", &["keys", "list"]),
    ] {
        let output = run(|c| {
            c.args(args).env("OSCILLINK_DATA_DIR", folder);
        });
        let text = stderr(&output);
        assert_eq!(code(&output), Some(2), "{args:?} in {folder}: {text}");
        assert!(text.contains("OSCILLINK_DATA_DIR"), "{text}");
        assert!(text.contains(folder), "{text}");
        assert_eq!(text.matches("os error").count(), 1, "{text}");
    }
}

#[test]
fn commands_that_need_a_database_do_not_make_one() {
    let folder = Folder::new();
    let mistyped = folder.0.path().join("mistyped");
    let id = "key_0000000000000000000000";
    let mut commands = vec![
        vec!["keys", "list"],
        vec!["keys", "revoke", id],
        vec!["keys", "activate", id],
        vec!["keys", "rotate", id],
        vec!["export-usage"],
    ];
    if cfg!(feature = "stripe") {
        commands.push(vec!["reconcile"]);
    }
    for command in commands {
        let output = run(|c| {
            c.args(&command)
                .arg("--data-dir")
                .arg(&mistyped)
                .env("RECEIPT_HMAC_SECRET", "secret")
                .env("STRIPE_API_KEY", "sk_test_123456")
                .env("OSCILLINK_STRIPE_PRICE_MAP", "price_1:pro");
        });
        let text = stderr(&output);
        assert_eq!(code(&output), Some(5), "{command:?}: {text}");
        assert!(
            text.contains("mistyped") && text.contains("OSCILLINK_DATA_DIR"),
            "{text}"
        );
        assert!(!mistyped.exists(), "{command:?}");
    }
    let made = run(|c| {
        c.args(["keys", "create", "--data-dir"]).arg(&mistyped);
    });
    assert_eq!(code(&made), Some(0), "{}", stderr(&made));
    let listed = json_of(&run(|c| {
        c.args(["keys", "list", "--data-dir"]).arg(&mistyped);
    }));
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[test]
fn solve_reads_json_npy_and_standard_input_alike() {
    let folder = Folder::new();
    let rows = matrix(30, 8);
    let request = json!({
        "Y": rows, "psi": rows[3], "params": {"kneighbors": 4}, "options": {"bundle_k": 3},
    });
    let from_json = folder.file("request.json", request.to_string());
    let from_npy = folder.file("rows.npy", npy(&rows));
    let flags = ["--psi-row", "3", "--kneighbors", "4", "--bundle", "3"];
    let first = json_of(&run(|c| {
        c.arg("solve").arg(&from_json);
    }));
    let second = json_of(&run(|c| {
        c.arg("solve").arg(&from_npy).args(flags);
    }));
    let third = json_of(&run(|c| {
        c.args(["solve", "-"])
            .stdin(fs::File::open(&from_json).unwrap());
    }));
    for other in [&second, &third] {
        assert_eq!(first["state_sig"], other["state_sig"]);
        assert_eq!(first["bundle"], other["bundle"]);
        assert_eq!(
            first["receipt"]["deltaH_total"],
            other["receipt"]["deltaH_total"]
        );
    }
    assert_eq!(first["bundle"].as_array().unwrap().len(), 3);
    assert!(first["receipt"]["meta"]["signature"].is_null());
}

#[test]
fn flags_stand_above_the_file() {
    let folder = Folder::new();
    let file = folder.file("request.json", SMALL);
    let answer = json_of(&run(|c| {
        c.arg("solve").arg(&file).args([
            "--bundle",
            "1",
            "--lamQ",
            "2",
            "--diffusion",
            "--gamma",
            "0.5",
        ]);
    }));
    assert_eq!(answer["bundle"].as_array().unwrap().len(), 1);
    assert_eq!(answer["meta"]["lam"]["Q"], 2.0);
    assert_eq!(answer["meta"]["diffusion"]["gamma"], 0.5);
    assert!(answer["timings_ms"]["diffusion_gate_ms"].is_number());
}

#[test]
fn solve_writes_an_array_as_npy() {
    let folder = Folder::new();
    let file = folder.file("request.json", SMALL);
    let out = folder.0.path().join("settled.npy");
    let answer = json_of(&run(|c| {
        c.arg("solve").arg(&file).arg("--out").arg(&out);
    }));
    assert!(answer.get("arrays").is_none());
    let bytes = fs::read(&out).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY") && bytes.len() % 64 == 3 * 2 * 4);
    let again = json_of(&run(|c| {
        c.arg("solve").arg(&out).args(["--psi-row", "0"]);
    }));
    assert_eq!(again["meta"]["N"], 3);
}

#[test]
fn bad_input_is_3_and_names_the_field_and_a_missing_file_is_5() {
    let folder = Folder::new();
    for (content, field) in [
        (r#"{"Y":[[1,2],[3]]}"#, "Y[1]"),
        (r#"{"Y":[[1,2],[3,"x"]]}"#, "Y[1][1]"),
        (r#"{"Y":[[1,2]],"psi":[1]}"#, "psi"),
        (r#"{"Y":[[1,2]],"params":{"lamG":0}}"#, "params.lamG"),
        (r#"{"Y":[[1,2]],"colour":"red"}"#, "colour"),
        (
            r#"{"Y":[[1,2]],"diffusion":{"gamma":0}}"#,
            "diffusion.gamma",
        ),
        (r#"{"Y":[[1,2]]"#, "body"),
        ("", "body"),
    ] {
        let file = folder.file("bad.json", content);
        let output = run(|c| {
            c.arg("solve").arg(&file);
        });
        assert_eq!(code(&output), Some(3), "{content}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(field),
            "{content}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty());
    }
    let missing = run(|c| {
        c.args(["solve", "/nonexistent/rows.npy"]);
    });
    assert_eq!(code(&missing), Some(5));
}

#[test]
fn verify_accepts_what_was_signed_and_nothing_else() {
    let folder = Folder::new();
    let request = folder.file("request.json", SMALL);
    let solve = |mode: &str| {
        json_of(&run(|c| {
            c.arg("solve")
                .arg(&request)
                .args(["--signature-mode", mode]);
            c.env("RECEIPT_HMAC_SECRET", "one");
        }))
    };
    let verify = |document: &Value, variables: &[(&str, &str)], flags: &[&str]| {
        let file = folder.file("receipt.json", document.to_string());
        run(|c| {
            c.arg("verify")
                .arg(&file)
                .args(flags)
                .envs(variables.iter().copied());
        })
    };
    let secret = [("RECEIPT_HMAC_SECRET", "one")];
    let (minimal, extended) = (solve("minimal"), solve("extended"));
    for document in [
        &minimal,
        &minimal["receipt"],
        &json!({"job_id": "x", "result": extended}),
    ] {
        assert_eq!(json_of(&verify(document, &secret, &[]))["verified"], true);
    }
    let rotated = [
        ("RECEIPT_HMAC_SECRET", "two"),
        ("RECEIPT_HMAC_SECRET_OLD", "one"),
    ];
    assert_eq!(json_of(&verify(&minimal, &rotated, &[]))["secret"], "old");
    let extended_only = ["--require-mode", "extended", "--require-version", "1"];
    assert_eq!(code(&verify(&extended, &secret, &extended_only)), Some(0));
    assert_eq!(code(&verify(&minimal, &secret, &extended_only)), Some(1));
    assert_eq!(
        code(&verify(&minimal, &secret, &["--require-version", "2"])),
        Some(1)
    );
    assert_eq!(
        code(&verify(&minimal, &[("RECEIPT_HMAC_SECRET", "two")], &[])),
        Some(1)
    );
    assert_eq!(code(&verify(&minimal, &[], &[])), Some(2));
    assert_eq!(
        code(&verify(&json!({"no": "receipt"}), &secret, &[])),
        Some(3)
    );

    let mut payload = minimal.clone();
    payload["receipt"]["meta"]["signature"]["payload"]["deltaH_total"] = json!(0.5);
    let mut shown = minimal.clone();
    shown["receipt"]["deltaH_total"] = json!(0.5);
    for forged in [payload, shown] {
        let output = verify(&forged, &secret, &[]);
        assert_eq!(code(&output), Some(1));
        assert!(String::from_utf8_lossy(&output.stdout).contains("false"));
    }
}

#[test]
fn a_job_from_submission_to_array_with_the_key_of_the_data_folder() {
    let folder = Folder::new();
    let server = Server::start();
    let client = |args: &[&str]| {
        run(|c| {
            c.args(args)
                .env("OSCILLINK_SERVER", &server.url)
                .env("OSCILLINK_DATA_DIR", &server.dir);
        })
    };
    let rows = folder.file("rows.npy", npy(&matrix(200, 16)));
    let rows = rows.to_str().unwrap();
    let flags = ["--psi-row", "0", "--bundle", "4", "--array", "ustar"];
    let job = json_of(&client(&[&["submit", rows], &flags[..]].concat()));
    let id = job["job_id"].as_str().unwrap();
    let done = json_of(&client(&["wait", id]));
    assert_eq!(done["status"], "done");
    assert_eq!(done["result"]["bundle"].as_array().unwrap().len(), 4);
    assert_eq!(json_of(&client(&["get", id]))["result"], done["result"]);
    let out = folder.0.path().join("ustar.npy");
    assert_eq!(
        code(&client(&[
            "get",
            id,
            "--array",
            "ustar",
            "--out",
            out.to_str().unwrap()
        ])),
        Some(0)
    );
    assert_eq!(fs::metadata(&out).unwrap().len() % 64, 200 * 16 * 4 % 64);
    let listed = json_of(&client(&["list", "--status", "done"]));
    assert_eq!(listed["items"][0]["job_id"], id);
    assert_eq!(
        json_of(&client(&["cancel", id]))["status"],
        "done",
        "what has ended stays"
    );

    let together = client(&[&["submit", rows, "--wait", "--diffusion"], &flags[..2]].concat());
    let together = json_of(&together);
    assert_eq!(
        (&together["kind"], &together["status"]),
        (&json!("diffusion"), &json!("done"))
    );
}

#[test]
fn failures_of_the_client_have_their_codes() {
    let folder = Folder::new();
    let server = Server::start();
    let client = |key: Option<&str>, args: &[&str]| {
        run(|c| {
            c.args(args)
                .env("OSCILLINK_SERVER", &server.url)
                .env("OSCILLINK_DATA_DIR", &server.dir);
            c.envs(key.map(|key| ("OSCILLINK_API_KEY", key)));
        })
    };
    let unknown = "job_0000000000000000000000";
    assert_eq!(code(&client(None, &["get", unknown])), Some(5));
    assert_eq!(code(&client(None, &["get", "../metrics"])), Some(5));
    assert_eq!(
        code(&client(
            Some("ok_not-a-key-of-this-server"),
            &["get", unknown]
        )),
        Some(4)
    );
    let bad = folder.file("bad.json", r#"{"Y":[[1,2],[3]]}"#);
    let refused = client(None, &["submit", bad.to_str().unwrap()]);
    assert_eq!(code(&refused), Some(3));
    assert!(stderr(&refused).contains("Y[1]"), "{}", stderr(&refused));
    let nowhere = run(|c| {
        c.args([
            "list",
            "--server",
            "http://127.0.0.1:9",
            "--api-key",
            "ok_some-key-of-nobody",
        ]);
    });
    assert_eq!(code(&nowhere), Some(6));
    let keyless = run(|c| {
        c.args(["list", "--server", "https://oscillink.invalid"])
            .env("OSCILLINK_DATA_DIR", &server.dir);
    });
    assert_eq!(
        code(&keyless),
        Some(4),
        "the development key is for servers on this machine"
    );
}

#[test]
fn keys_are_made_listed_rotated_and_revoked_beside_a_running_server() {
    let server = Server::start();
    let keys = |args: &[&str]| {
        run(|c| {
            c.arg("keys")
                .args(args)
                .env("OSCILLINK_DATA_DIR", &server.dir);
        })
    };
    let asks = |key: &str| {
        let request = server.get("/v1/jobs").header("authorization", "");
        let mut request = request.build().unwrap();
        request
            .headers_mut()
            .insert("x-api-key", key.parse().unwrap());
        reqwest::blocking::Client::new()
            .execute(request)
            .unwrap()
            .status()
            .as_u16()
    };
    let made = json_of(&keys(&["create", "--tier", "beta", "--name", "search"]));
    let (id, first) = (
        made["key_id"].as_str().unwrap(),
        made["key"].as_str().unwrap(),
    );
    assert!(first.starts_with("ok_") && made["tier"] == "beta" && made["status"] == "active");
    assert_eq!(asks(first), 200);
    let listed = json_of(&keys(&["list"]));
    let found = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["key_id"] == id);
    assert_eq!(found.unwrap()["name"], "search");
    assert!(
        !listed.to_string().contains(first),
        "secrets are shown once"
    );

    let rotated = json_of(&keys(&["rotate", id, "--overlap", "3600"]));
    let second = rotated["key"].as_str().unwrap();
    assert_eq!((asks(first), asks(second)), (200, 200));
    assert_eq!(json_of(&keys(&["revoke", id]))["status"], "revoked");
    crate::support::eventually("the revocation", || {
        (asks(first) != 200 && asks(second) != 200).then_some(())
    });
    assert_eq!(
        code(&keys(&["revoke", "key_0000000000000000000000"])),
        Some(5)
    );
    assert_eq!(code(&keys(&["revoke", "no-id"])), Some(2));
}
