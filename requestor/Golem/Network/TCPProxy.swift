import NIOCore
import NIOPosix
import NIOWebSocket

extension VirtualNetwork {
    /// Makes a port of a machine reachable at a port of this computer while `body` runs.
    ///
    /// Each connection to the local port becomes one to the machine, through the daemon. It ends when either side ends it:
    /// the way through the daemon knows no connection that is closed in one direction only.
    ///
    /// - Parameters:
    ///   - port: of the machine, 1 to 65,535.
    ///   - listening: the local port on 127.0.0.1; 0 takes a free one.
    ///   - body: gets the local port.
    /// - Throws: `usage` for a port that is none, `notFound` for a machine that takes no part, `io` when the local port
    ///   cannot be had. That a single connection fails is seen by its client only, and by the logger.
    public nonisolated func withTCPProxy<Result: Sendable>(
        to machine: Machine, port: Int, listening local: Int = 0,
        _ body: @Sendable @escaping (_ port: Int) async throws -> Result
    ) async throws -> Result {
        guard let address = await address(of: machine.providerID) else {
            throw GolemError(
                .notFound, "the machine takes no part in the network", place: machine.label,
                hint: "set virtualNetwork of its RentalPlan")
        }
        return try await withTCPProxy(to: address, port: port, listening: local, body)
    }

    /// As ``withTCPProxy(to:port:listening:_:)-(Machine,_,_,_)``, by address.
    public nonisolated func withTCPProxy<Result: Sendable>(
        to address: IPv4Address, port: Int, listening local: Int = 0,
        _ body: @Sendable @escaping (_ port: Int) async throws -> Result
    ) async throws -> Result {
        guard (1...65_535).contains(port), (0...65_535).contains(local) else {
            throw GolemError(.usage, "there is no port \((1...65_535).contains(port) ? local : port)")
        }
        let server: NIOAsyncChannel<NIOAsyncChannel<ByteBuffer, ByteBuffer>, Never>
        do {
            server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .bind(host: "127.0.0.1", port: local) { channel in
                    channel.eventLoop.makeCompletedFuture { try NIOAsyncChannel(wrappingChannelSynchronously: channel) }
                }
        } catch {
            throw GolemError(
                .io, "the local port \(local) cannot be had", place: "127.0.0.1:\(local)",
                hint: "another program may have it; 0 takes a free one", cause: error)
        }
        let bound = server.channel.localAddress?.port ?? local
        let path = client.network.connectionPath(id, address, port)
        return try await server.executeThenClose { connections in
            try await withThrowingTaskGroup(of: Result?.self) { group in
                group.addTask { [client] in
                    try await withThrowingDiscardingTaskGroup { group in
                        for try await connection in connections {
                            group.addTask {
                                do {
                                    try await TCPProxy(client: client, path: path).carry(connection)
                                } catch {
                                    client.logger.warning("a connection to \(path) broke: \(error)")
                                }
                            }
                        }
                    }
                    return nil
                }
                group.addTask { try await body(bound) }
                defer { group.cancelAll() }
                while let next = try await group.next() {
                    if let result = next { return result }
                }
                throw CancellationError()
            }
        }
    }
}

/// One connection through the daemon.
private struct TCPProxy {
    let client: GolemClient
    let path: String
    /// The daemon closes the socket on a frame of 64 KiB.
    static let pieceLimit = 32_768
    /// How long the daemon may take to answer that we close.
    static let closingLimit = Duration.seconds(5)

    func carry(_ local: NIOAsyncChannel<ByteBuffer, ByteBuffer>) async throws {
        try await local.executeThenClose { fromLocal, toLocal in
            let remote = try await ServiceSocket.connect(
                address: client.address, path: path, appKey: client.appKey, protocol: nil
            ).channel
            try await remote.executeThenClose { fromRemote, toRemote in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        for try await var bytes in fromLocal {
                            while let piece = bytes.readSlice(length: min(bytes.readableBytes, Self.pieceLimit)),
                                piece.readableBytes > 0
                            {
                                try await toRemote.write(
                                    WebSocketFrame(fin: true, opcode: .binary, maskKey: .random(), data: piece))
                            }
                        }
                        try await remote.channel.sendLast(Self.close)
                        // A socket that is closed with unread bytes in it destroys those that it sent: the answer ends both.
                        try await Task.sleep(for: Self.closingLimit)
                    }
                    group.addTask {
                        for try await frame in fromRemote {
                            switch frame.opcode {
                            case .binary, .text, .continuation:
                                // That the client is gone is seen by the other task.
                                try? await toLocal.write(frame.unmaskedData)
                            case .ping:
                                try await toRemote.write(
                                    WebSocketFrame(
                                        fin: true, opcode: .pong, maskKey: .random(), data: frame.unmaskedData))
                            case .connectionClose:
                                guard local.channel.isActive else { return }
                                try? await remote.channel.sendLast(Self.close)
                                return try await local.channel.sendLast(ByteBuffer())
                            default: continue
                            }
                        }
                        if local.channel.isActive { try await local.channel.sendLast(ByteBuffer()) }
                    }
                    defer { group.cancelAll() }
                    _ = try await group.next()
                }
            }
        }
    }

    private static var close: WebSocketFrame {
        WebSocketFrame(fin: true, opcode: .connectionClose, maskKey: .random(), data: ByteBuffer())
    }
}

extension Channel {
    /// Writes and waits until this and all before it has left: what is still in the channel when it is closed is lost. The
    /// other side may never take it: cancellation closes the channel.
    fileprivate func sendLast(_ message: some Sendable) async throws {
        try await withTaskCancellationHandler {
            try await writeAndFlush(message).get()
        } onCancel: {
            close(promise: nil)
        }
    }
}
