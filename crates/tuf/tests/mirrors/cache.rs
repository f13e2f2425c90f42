//! Folders: prepared, poisoned, and all that there is while a mirror is down.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result, ensure};
use windlass_model::Spec;
use windlass_model::guard::{TufAnchor, TufRepository as Configured};
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::http_server::Canned;
use windlass_testkit::traffic::{Fault, Match};
use windlass_testkit::tuf::{RootSigners, TufRepository};
use windlass_tuf::{Cache, fetch_one};

use super::{NOW, Setting, none, overwrite, roots, time};

const LATER: &str = "2030-01-20T00:00:00Z";

fn down(repository: &TufRepository) -> Fault {
    repository.traffic().answer(Match::any(), Canned::status(503))
}

#[tokio::test]
async fn a_mirror_that_is_down_is_done_without_until_the_folder_expires() -> Result<()> {
    let mut setting = Setting::new()?;
    setting.repository.expiry.timestamp = "2030-02-01T00:00:00Z".to_owned();
    setting.repository.rotate(RootSigners::Both)?;
    setting.repository.publish(&setting.roots[1]);
    setting.is(&setting.fetch(NOW).await?, 1)?;
    let outage = down(&setting.repository);
    setting.keeps(1, "503").await?;
    let kept = setting.fetch(LATER).await?;
    ensure!(kept.until == time("2030-02-01T00:00:00Z") && kept.failure.is_some(), "{kept:?}");
    setting.has_none("2030-02-01T00:00:00Z", "503").await?;
    outage.lift();
    setting.has_none("2030-02-01T00:00:00Z", "expired at 2030-02-01T00:00:00Z").await?;
    setting.repository.expiry.timestamp = "2030-04-01T00:00:00Z".to_owned();
    setting.repository.publish(&setting.roots[2]);
    setting.is(&setting.fetch("2030-02-01T00:00:00Z").await?, 2)
}

#[tokio::test]
async fn an_update_that_breaks_off_takes_nothing_away() -> Result<()> {
    let mut setting = Setting::new()?;
    setting.begin().await?;
    setting.repository.rotate(RootSigners::Both)?;
    setting.repository.publish(&setting.roots[1]);
    for path in ["timestamp.json", "2.snapshot.json", "2.targets.json", "trusted_root.json"] {
        let fault = setting.repository.traffic().answer(Match::path_ends_with(path), Canned::status(500));
        setting.keeps(0, "500").await?;
        ensure!(fault.hits() > 0, "{path} was not asked for");
    }
    setting.is(&setting.fetch(NOW).await?, 1)
}

#[tokio::test]
async fn a_poisoned_folder_is_not_believed_and_hinders_nobody() -> Result<()> {
    let setting = Setting::new()?;
    setting.begin().await?;
    let folder = setting.files()?;
    let mut names: Vec<_> =
        fs::read_dir(&folder)?.map(|entry| entry.map(|e| e.file_name())).collect::<Result<_, _>>()?;
    names.sort();
    ensure!(names.len() == 5, "{names:?}");

    // The same names with another repository's files, signed by others.
    let mut other = Setting::new()?;
    other.repository.publish(&other.roots[1]);
    other.is(&other.fetch(NOW).await?, 1)?;
    for foreign in [true, false] {
        for name in &names {
            let name = name.to_str().context("names are text")?;
            let bytes =
                if foreign { fs::read(other.files()?.join(name))? } else { b"{\"signed\":{}}".to_vec() };
            let good = fs::read(folder.join(name))?;
            overwrite(&folder, name, &bytes)?;
            let outage = down(&setting.repository);
            // The first root is the configuration's; nobody reads the folder's.
            if name == "root_history+1.root.json" {
                setting.keeps(0, "503").await?;
            } else {
                setting.has_none(NOW, "503").await?;
            }
            outage.lift();
            setting.is(&setting.fetch(NOW).await?, 0)?;
            ensure!(fs::read(folder.join(name))? == good, "{name} is not mended");
        }
    }
    Ok(())
}

#[tokio::test]
async fn links_in_the_folder_are_not_followed() -> Result<()> {
    let setting = Setting::new()?;
    setting.begin().await?;
    let folder = setting.files()?;
    let elsewhere = fresh(Storage::Memory)?;
    let outside = elsewhere.path().join("outside.json");
    let file = outside.as_path();
    fs::copy(folder.join("timestamp.json"), file)?;
    fs::remove_file(folder.join("timestamp.json"))?;
    symlink(file, folder.join("timestamp.json"))?;
    let before = fs::read(file)?;
    let outage = down(&setting.repository);
    setting.has_none(NOW, "503").await?;
    outage.lift();
    setting.is(&setting.fetch(NOW).await?, 0)?;
    ensure!(fs::read(file)? == before && fs::symlink_metadata(folder.join("timestamp.json"))?.is_file());

    // The folder itself leads elsewhere.
    let moved = elsewhere.path().join("moved");
    fs::rename(&folder, &moved)?;
    symlink(&moved, &folder)?;
    let outage = down(&setting.repository);
    setting.has_none(NOW, "503").await?;
    outage.lift();
    setting.is(&setting.fetch(NOW).await?, 0)
}

#[tokio::test]
async fn offline_takes_what_was_prepared_and_asks_nobody() -> Result<()> {
    let mut setting = Setting::new()?;
    let offline = Configured { offline: true, ..setting.configured() };
    let fetch = async |cache: Cache, now| fetch_one(&offline, &Spec::default(), &cache, time(now)).await;
    none(fetch(Cache::Nowhere, NOW).await, "there is no folder to read it from")?;
    none(fetch(setting.keep(), NOW).await, "holds none that is valid now")?;
    ensure!(setting.repository.traffic().mark() == 0, "nobody was asked");

    setting.repository.expiry.timestamp = "2030-02-01T00:00:00Z".to_owned();
    setting.repository.publish(&setting.roots[1]);
    setting.is(&setting.fetch(NOW).await?, 1)?;
    let mark = setting.repository.traffic().mark();
    setting.is(&fetch(Cache::Read(setting.folder.path().to_owned()), LATER).await?, 1)?;
    none(fetch(setting.keep(), "2030-02-01T00:00:00Z").await, "expired")?;
    ensure!(setting.repository.traffic().mark() == mark, "nobody was asked");
    Ok(())
}

#[tokio::test]
async fn a_folder_is_that_of_one_mirror_and_one_first_root() -> Result<()> {
    let setting = Setting::new()?;
    setting.begin().await?;
    let other = TufRepository::start(&roots()?[0])?;
    let renamed = Configured {
        anchor: TufAnchor::Inline(other.first_root().to_owned()),
        offline: true,
        ..setting.configured()
    };
    none(
        fetch_one(&renamed, &Spec::default(), &setting.keep(), time(NOW)).await,
        "holds none that is valid now",
    )?;
    let moved = Configured { mirror: other.url(), offline: true, ..setting.configured() };
    none(
        fetch_one(&moved, &Spec::default(), &setting.keep(), time(NOW)).await,
        "holds none that is valid now",
    )
}
