//! The fail points, and a little of what `cargo xtask chaos` does with them.

use anyhow::Result;
use windlass_testkit::chaos::point::{POINTS, VARIABLE, has_fail_points};
use windlass_testkit::locate;
use windlass_testkit::windlass::Windlass;
use windlass_testkit::world::{self, WorldOptions};

#[tokio::test]
async fn a_fail_point_that_does_not_exist_is_refused_and_those_that_exist_are_named() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        let mut options = world.windlass_options();
        options.environment.push((VARIABLE.to_owned(), "pushed=kill".to_owned()));
        let refused = Windlass::start(options).await.err().map(|error| format!("{error:#}"));
        let refused = refused.unwrap_or_default();
        let names = format!("there is no fail point `pushed`; there are {}", POINTS.join(", "));
        assert!(refused.contains("ended with exit status: 2") && refused.contains(&names), "{refused}");
        assert!(has_fail_points(&locate::windlass()?)?);
        Ok(())
    })
    .await
}
