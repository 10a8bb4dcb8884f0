//! The transport below PostgreSQL's messages: TCP or a Unix-domain socket, with or without TLS.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::conninfo::Keepalive;

/// The address of a socket.
#[derive(Clone, Debug)]
pub(super) enum SocketTarget {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A connected socket.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

type RustlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// A socket with or without TLS.
pub(super) enum Transport {
    Plain(Socket),
    Tls(Box<RustlsStream>),
}

/// The server's answer to the TLS request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsAnswer {
    Yes,
    No,
    /// The server sent an error message instead, because it could not start a process.
    Error,
}

impl Socket {
    pub(super) async fn open(endpoint: &SocketTarget, keepalive: &Keepalive) -> io::Result<Socket> {
        match endpoint {
            SocketTarget::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
            SocketTarget::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                configure(&stream, keepalive)?;
                Ok(Socket::Tcp(stream))
            }
        }
    }

    /// Requests TLS. Reads exactly one byte, so that data injected by a man in the middle before the
    /// handshake is never taken for data from the server.
    pub(super) async fn request_tls(&mut self) -> io::Result<TlsAnswer> {
        // The length of the request and its code 1234.5679.
        const REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
        self.write_all(&REQUEST).await?;
        self.flush().await?;
        match self.read_u8().await? {
            b'S' => Ok(TlsAnswer::Yes),
            b'N' => Ok(TlsAnswer::No),
            b'E' => Ok(TlsAnswer::Error),
            other => {
                let text = format!("answer 0x{other:02x} to the request for TLS: is it a PostgreSQL server?");
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
        }
    }

    /// Performs the TLS handshake.
    pub(super) async fn start_tls(self, config: ClientConfig, name: &str) -> io::Result<Transport> {
        let mut maker = MakeRustlsConnect::new(config);
        let connector = match MakeTlsConnect::<Socket>::make_tls_connect(&mut maker, name) {
            Ok(connector) => connector,
            Err(never) => match never {},
        };
        Ok(Transport::Tls(Box::new(connector.connect(self).await?)))
    }
}

fn configure(stream: &TcpStream, keepalive: &Keepalive) -> io::Result<()> {
    let socket = SockRef::from(stream);
    if keepalive.enabled {
        let mut wanted = TcpKeepalive::new();
        if let Some(idle) = keepalive.idle {
            wanted = wanted.with_time(idle);
        }
        if let Some(interval) = keepalive.interval {
            wanted = wanted.with_interval(interval);
        }
        if let Some(count) = keepalive.count {
            wanted = wanted.with_retries(count);
        }
        socket.set_tcp_keepalive(&wanted)?;
    }
    if let Some(timeout) = keepalive.user_timeout {
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    Ok(())
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Socket::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Socket::Unix(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(s) => Pin::new(s).poll_flush(cx),
            Socket::Unix(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Socket::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Transport::Tls(s) => Pin::new(s.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Transport::Tls(s) => Pin::new(s.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(s) => Pin::new(s).poll_flush(cx),
            Transport::Tls(s) => Pin::new(s.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Transport::Tls(s) => Pin::new(s.as_mut()).poll_shutdown(cx),
        }
    }
}

impl TlsStream for Transport {
    fn channel_binding(&self) -> ChannelBinding {
        match self {
            Transport::Plain(_) => ChannelBinding::none(),
            Transport::Tls(s) => s.channel_binding(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::conninfo::{ConnInfo, Environment};
    use super::*;

    #[tokio::test]
    async fn the_kernel_watches_a_silent_peer_as_libpq_has_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = SocketTarget::Tcp(listener.local_addr().unwrap());
        for (text, is_on, idle, user_timeout) in [
            ("user=u", true, None, None),
            ("user=u keepalives=0", false, None, None),
            ("user=u keepalives_idle=7 tcp_user_timeout=5000", true, Some(7), Some(5)),
        ] {
            let options = ConnInfo::parse(text).unwrap().resolve(&Environment::default()).unwrap();
            let Ok(Socket::Tcp(stream)) = Socket::open(&endpoint, &options.keepalive).await else {
                panic!("{text}: no connection");
            };
            let socket = SockRef::from(&stream);
            assert_eq!(socket.keepalive().unwrap(), is_on, "{text}");
            if let Some(idle) = idle {
                assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(idle), "{text}");
            }
            assert_eq!(socket.tcp_user_timeout().unwrap(), user_timeout.map(Duration::from_secs), "{text}");
        }
    }
}
