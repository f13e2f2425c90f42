//! Real sockets on both sides of a link.

use std::io::ErrorKind;

use tokio::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
/// Long beside an exchange over loopback, short beside a person's patience.
const A_WHILE: Duration = Duration::from_millis(200);

/// A client and a server with a link between them.
struct Ends {
    link: Link,
    listener: TcpListener,
}

impl Ends {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { link: Link::start(listener.local_addr().unwrap()).unwrap(), listener }
    }

    async fn client(&self) -> TcpStream {
        TcpStream::connect(self.link.address()).await.unwrap()
    }

    async fn connected(&self) -> (TcpStream, TcpStream) {
        let (client, server) = tokio::join!(self.client(), self.listener.accept());
        (client, server.unwrap().0)
    }
}

async fn say(stream: &mut TcpStream, words: &str) {
    stream.write_all(words.as_bytes()).await.unwrap();
}

async fn hear(stream: &mut TcpStream, words: &str) {
    let mut heard = vec![0; words.len()];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut heard)).await;
    read.expect("it comes in time").unwrap();
    assert_eq!(heard, words.as_bytes());
}

/// Nothing is heard, not even an end.
async fn silent(stream: &mut TcpStream) {
    let heard = tokio::time::timeout(A_WHILE, stream.read_u8()).await;
    assert!(heard.is_err(), "heard {heard:?}");
}

async fn end_of(stream: &mut TcpStream) -> io::Result<usize> {
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 8])).await;
    read.expect("the end comes in time")
}

#[tokio::test]
async fn an_open_link_carries_both_directions_and_each_end() {
    let ends = Ends::new().await;
    let (mut client, mut server) = ends.connected().await;
    say(&mut client, "to the server").await;
    hear(&mut server, "to the server").await;
    client.shutdown().await.unwrap();
    assert_eq!(end_of(&mut server).await.unwrap(), 0);
    say(&mut server, "to the client, which listens on").await;
    hear(&mut client, "to the client, which listens on").await;
    drop(server);
    assert_eq!(end_of(&mut client).await.unwrap(), 0);
    assert_eq!(ends.link.mark(), Use { connections: 1, bytes: "to the server".len() });
}

#[tokio::test]
async fn a_partition_accepts_and_passes_nothing_until_it_is_over() {
    let ends = Ends::new().await;
    let (mut client, mut server) = ends.connected().await;
    ends.link.stop();
    let mark = ends.link.mark();
    say(&mut client, "asked").await;
    say(&mut server, "answered").await;
    ends.link.used_after(mark, PATIENCE).await.unwrap();
    // A newcomer is accepted and reaches nobody; an end is not told.
    let mark = ends.link.mark();
    let mut newcomer = ends.client().await;
    ends.link.used_after(mark, PATIENCE).await.unwrap();
    say(&mut newcomer, "knocks").await;
    server.shutdown().await.unwrap();
    tokio::join!(silent(&mut client), silent(&mut server), silent(&mut newcomer));
    assert!(tokio::time::timeout(A_WHILE, ends.listener.accept()).await.is_err());
    ends.link.open();
    hear(&mut server, "asked").await;
    hear(&mut client, "answered").await;
    assert_eq!(end_of(&mut client).await.unwrap(), 0);
    let (mut late, _) = ends.listener.accept().await.unwrap();
    hear(&mut late, "knocks").await;
}

#[tokio::test]
async fn one_direction_is_stopped_alone() {
    let ends = Ends::new().await;
    let (mut client, mut server) = ends.connected().await;
    ends.link.set(Way::ToClient, Flow::Stopped);
    say(&mut client, "asked").await;
    hear(&mut server, "asked").await;
    say(&mut server, "answered").await;
    silent(&mut client).await;
    ends.link.set(Way::ToClient, Flow::Open);
    hear(&mut client, "answered").await;
}

#[tokio::test]
async fn a_cut_closes_what_is_open_and_takes_new_connections() {
    let ends = Ends::new().await;
    let (mut client, mut server) = ends.connected().await;
    ends.link.cut();
    assert_eq!(end_of(&mut client).await.unwrap(), 0);
    assert_eq!(end_of(&mut server).await.unwrap(), 0);
    let (mut client, mut server) = ends.connected().await;
    say(&mut client, "again").await;
    hear(&mut server, "again").await;
}

#[tokio::test]
async fn a_reset_is_one_at_both_ends_and_drops_what_was_held() {
    let ends = Ends::new().await;
    let (mut client, mut server) = ends.connected().await;
    ends.link.stop();
    let mark = ends.link.mark();
    say(&mut client, "never heard").await;
    ends.link.used_after(mark, PATIENCE).await.unwrap();
    ends.link.reset();
    for stream in [&mut client, &mut server] {
        assert_eq!(end_of(stream).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_server_that_resets_or_is_not_there_is_one_that_resets() {
    let ends = Ends::new().await;
    let (mut client, server) = ends.connected().await;
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(end_of(&mut client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let Ends { link, listener } = ends;
    drop(listener);
    // It may come while the client still connects.
    let error = match TcpStream::connect(link.address()).await {
        Ok(mut client) => end_of(&mut client).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn half_a_connection_is_closed_and_the_other_half_goes_on() {
    let ends = Ends::new().await;
    let (mut client, mut server) = ends.connected().await;
    say(&mut client, "all").await;
    hear(&mut server, "all").await;
    ends.link.half_close(Way::ToServer);
    assert_eq!(end_of(&mut server).await.unwrap(), 0);
    say(&mut server, "still there").await;
    hear(&mut client, "still there").await;
}

#[tokio::test]
async fn a_slow_link_delays_and_a_narrow_one_spreads_what_passes() {
    let ends = Ends::new().await;
    let (mut client, mut server) = ends.connected().await;
    ends.link.set(Way::ToServer, Flow::Delayed(A_WHILE));
    let before = Instant::now();
    say(&mut client, "late").await;
    hear(&mut server, "late").await;
    assert!(before.elapsed() >= A_WHILE, "{:?}", before.elapsed());
    // At 5,000 bytes a second, 1,000 take ten ticks at least.
    ends.link.set(Way::ToServer, Flow::Narrow(5_000));
    let (before, long) = (Instant::now(), "x".repeat(1_000));
    say(&mut client, &long).await;
    hear(&mut server, &long).await;
    assert!(before.elapsed() >= A_WHILE, "{:?}", before.elapsed());
    // What waits is let go when the link becomes fast again.
    ends.link.set_both(Flow::Delayed(10 * PATIENCE));
    let mark = ends.link.mark();
    say(&mut client, "let go").await;
    ends.link.used_after(mark, PATIENCE).await.unwrap();
    ends.link.open();
    hear(&mut server, "let go").await;
}

#[tokio::test]
async fn connections_are_cut_after_so_many_bytes_of_a_direction() {
    let ends = Ends::new().await;
    let (mut client, mut server) = ends.connected().await;
    ends.link.cut_after(Way::ToServer, 6);
    say(&mut client, "first second").await;
    hear(&mut server, "first ").await;
    assert_eq!(end_of(&mut server).await.unwrap(), 0);
    // Once: the next connection is whole.
    let (mut client, mut server) = ends.connected().await;
    say(&mut client, "first second").await;
    hear(&mut server, "first second").await;
}
