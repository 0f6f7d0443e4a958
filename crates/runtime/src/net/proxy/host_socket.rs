//! A UDP socket on the host that knows which address a datagram was sent to.
//!
//! A host has several addresses, and the kernel chooses the source of an answer by its route. A client takes
//! an answer only from the address that it asked, so that address goes with the session and into every
//! answer.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};

/// The host address that a client used, and the interface where that is part of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Local {
    V4(Ipv4Addr),
    V6(Ipv6Addr, u32),
}

/// The socket of a published UDP port.
#[derive(Debug)]
pub(super) struct HostSocket(UdpSocket);

impl HostSocket {
    /// Asks the kernel to tell the destination of every datagram.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        if socket.local_addr()?.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        Ok(Self(socket))
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next datagram: its length, its sender, and the address it was sent to.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Local)> {
        let mut control = cmsg_space!(libc::in6_pktinfo);
        let mut vectors = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrStorage>(
            self.0.as_raw_fd(),
            &mut vectors,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let sender = message.address.as_ref().and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|address| SocketAddrV4::from(*address).into());
            v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddrV6::from(*address).into()))
        });
        let local = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(Local::V4(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let scope = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                Some(Local::V6(address, scope))
            }
            _ => None,
        });
        match (sender, local) {
            (Some(sender), Some(local)) => Ok((message.bytes, sender, local)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Answers `client` from the address that it used.
    pub(super) fn answer(&self, bytes: &[u8], client: SocketAddr, local: Local) -> io::Result<()> {
        let vectors = [IoSlice::new(bytes)];
        let client = SockaddrStorage::from(client);
        let send = |control: ControlMessage<'_>| {
            sendmsg(self.0.as_raw_fd(), &vectors, &[control], MsgFlags::empty(), Some(&client))
        };
        match local {
            Local::V4(address) => send(ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            })),
            Local::V6(address, scope) => send(ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: address.octets() },
                ipi6_ifindex: scope,
            })),
        }?;
        Ok(())
    }
}

impl AsFd for HostSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
