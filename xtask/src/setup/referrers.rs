//! A registry with the referrers API, which neither distribution nor `crane registry serve` has: a few lines of Go over
//! go-containerregistry's own registry.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::locate::{REFERRERS_REGISTRY_IN_TARGET, on_path, target_folder};

use crate::run::shown;

const VERSION: &str = "v0.22.1";
const MODULE: &str = "github.com/google/go-containerregistry";
/// It prints where it listens, and ends in order on SIGTERM.
const SOURCE: &str = r#"package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	quiet := registry.Logger(log.New(io.Discard, "", 0))
	server := &http.Server{
		Handler:           registry.New(registry.WithReferrersSupport(true), quiet),
		ReadHeaderTimeout: time.Minute,
	}
	stop, ignore := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer ignore()
	done := make(chan error)
	go func() {
		<-stop.Done()
		done <- server.Shutdown(context.Background())
	}()
	fmt.Println(listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-done; err != nil {
		log.Print(err)
		os.Exit(1)
	}
}
"#;

/// The program, built when it is missing.
pub(super) fn referrers_registry() -> Result<PathBuf> {
    let program = target_folder()?.join(REFERRERS_REGISTRY_IN_TARGET);
    if program.is_file() {
        return Ok(program);
    }
    ensure!(
        on_path("go").is_some(),
        "install Go: tests use a registry with the referrers API, which it builds"
    );
    eprintln!("building a registry with the referrers API (a minute)");
    let build = program.parent().context("a tool lies in a folder")?.join("build");
    fs::create_dir_all(&build).with_context(|| format!("making {}", build.display()))?;
    let manifest =
        format!("module windlass.dev/tools/referrers-registry\n\ngo 1.26\n\nrequire {MODULE} {VERSION}\n");
    for (name, text) in [("go.mod", manifest.as_str()), ("main.go", SOURCE)] {
        fs::write(build.join(name), text).with_context(|| format!("writing {name}"))?;
    }
    let go = |arguments: &[&str]| {
        let mut command = Command::new("go");
        command.args(arguments).current_dir(&build).env("GOFLAGS", "-mod=mod").env("CGO_ENABLED", "0");
        command
    };
    shown(&mut go(&["mod", "tidy"]))?;
    // Under another name until it is whole: what is there is complete.
    let half = build.join("registry");
    shown(go(&["build", "-o"]).arg(&half).arg("."))?;
    fs::rename(&half, &program).with_context(|| format!("moving {}", program.display()))?;
    Ok(program)
}
