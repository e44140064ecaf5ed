//! One WebSocket connection: frames in, frames out, and faults on the wire.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::fault::Fault;
use crate::hub::Hub;
use crate::ping_filter::PingFilter;
use crate::session::{Outgoing, Visitor};

/// The path of the normal PBX; another module name would be a dynamic PBX.
pub(crate) const PATH: &str = "/PBX0/APPS/websocket";

const HANDSHAKE: Duration = Duration::from_secs(10);
/// A client that reads nothing for so long is given up.
const WRITE: Duration = Duration::from_secs(30);

/// A byte stream that can end with a reset.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    fn will_reset(&self);
}

impl Transport for TcpStream {
    fn will_reset(&self) {
        let _already_gone = self.set_zero_linger();
    }
}

impl Transport for TlsStream<TcpStream> {
    fn will_reset(&self) {
        self.get_ref().0.will_reset();
    }
}

/// Its other end sees the same after either end of a connection.
impl Transport for DuplexStream {
    fn will_reset(&self) {}
}

impl<S: Transport> Transport for PingFilter<S> {
    fn will_reset(&self) {
        self.inner().will_reset();
    }
}

#[expect(clippy::result_large_err, reason = "the WebSocket library's callback has this signature")]
fn check_path(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    if request.uri().path() == PATH {
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(Some(format!("the PBX listens on {PATH}")));
    *refusal.status_mut() = StatusCode::NOT_FOUND;
    Err(refusal)
}

/// Serves one client until either side ends the connection, or the simulator stops.
pub(crate) async fn serve(hub: Arc<Hub>, stream: impl Transport, visitor: Visitor, stop: CancellationToken) {
    let Visitor { remote, tls, pbx } = visitor.clone();
    let stream = PingFilter::new(stream, hub.no_pong());
    let handshake = timeout(HANDSHAKE, accept_hdr_async(stream, check_path));
    let mut socket = match stop.run_until_cancelled(handshake).await {
        Some(Ok(Ok(socket))) => socket,
        Some(Ok(Err(err))) => return debug!(%remote, "No WebSocket: {err}"),
        Some(Err(_)) => return debug!(%remote, "No WebSocket within the time limit"),
        None => return,
    };
    socket.get_mut().begin();
    let (sender, receiver) = mpsc::unbounded_channel();
    let Some(index) = hub.connected(visitor, sender) else { return };
    info!(connection = index, %remote, tls, pbx, "Connected");
    stop.run_until_cancelled(converse(&hub, index, socket, receiver)).await;
    hub.disconnected(index);
    info!(connection = index, "Disconnected");
}

async fn converse<S: Transport>(
    hub: &Hub,
    index: u32,
    mut socket: WebSocketStream<S>,
    mut outgoing: UnboundedReceiver<Outgoing>,
) {
    loop {
        tokio::select! {
            biased;
            next = outgoing.recv() => match next {
                Some(Outgoing::Text { bytes, in_fragments }) => {
                    for frame in frames(&bytes, in_fragments) {
                        if !write(&mut socket, Message::Frame(frame)).await {
                            return;
                        }
                    }
                }
                Some(Outgoing::Fault(Fault::Garbage(text))) => if !write(&mut socket, Message::text(text)).await {
                    return;
                },
                Some(Outgoing::Fault(Fault::Drop)) => return,
                Some(Outgoing::Fault(Fault::Silent)) => return fall_silent(socket, outgoing).await,
                Some(Outgoing::Fault(Fault::CutMidFrame)) => return cut(socket).await,
                Some(Outgoing::Close) | None => {
                    let _already_gone = timeout(WRITE, socket.close(None)).await;
                    return;
                }
            },
            // The library answers pings and puts fragments together.
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => hub.received(index, &text),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

async fn write<S: Transport>(socket: &mut WebSocketStream<S>, message: Message) -> bool {
    matches!(timeout(WRITE, socket.send(message)).await, Ok(Ok(())))
}

/// A text message, which the library does not look at, as one frame or as several.
fn frames(bytes: &[u8], in_fragments: bool) -> Vec<Frame> {
    let parts: Vec<&[u8]> = match in_fragments {
        false => vec![bytes],
        true => {
            // Inside of a character, where there is one of several bytes.
            let middle = bytes.iter().position(|byte| byte & 0xc0 == 0x80).unwrap_or(bytes.len() / 2);
            vec![&bytes[..middle], &bytes[middle..middle], &bytes[middle..]]
        }
    };
    let last = parts.len() - 1;
    let frame = |(at, part): (usize, &&[u8])| {
        let kind = if at == 0 { Data::Text } else { Data::Continue };
        Frame::message(Bytes::copy_from_slice(part), OpCode::Data(kind), at == last)
    };
    parts.iter().enumerate().map(frame).collect()
}

/// Reads and forgets, so that the client sees an open socket on which nothing ever comes back. A later fault that
/// ends the connection still does.
async fn fall_silent<S: Transport>(mut socket: WebSocketStream<S>, mut outgoing: UnboundedReceiver<Outgoing>) {
    let mut waste = [0; 4096];
    loop {
        tokio::select! {
            biased;
            read = socket.get_mut().read(&mut waste) => if !matches!(read, Ok(1..)) { return },
            next = outgoing.recv() => match next {
                Some(Outgoing::Fault(Fault::Drop)) | None => return,
                Some(Outgoing::Fault(Fault::CutMidFrame)) => return cut(socket).await,
                Some(_) => {}
            },
        }
    }
}

/// Announces 256 bytes of text, sends half of them and resets the connection.
async fn cut<S: Transport>(mut socket: WebSocketStream<S>) {
    let mut half = vec![0x81, 126, 1, 0];
    half.extend(br#"{"api":"RCC","mt":"CallInfo","user":1,"call":1,"state":129,"msg":"#);
    half.resize(4 + 128, b' ');
    let stream = socket.get_mut();
    let _already_gone = stream.write_all(&half).await;
    let _already_gone = stream.flush().await;
    stream.will_reset();
}
