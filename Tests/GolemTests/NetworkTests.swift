import Foundation
import Golem
import NIOCore
import NIOPosix
import NIOWebSocket
import Synchronization
import Testing

@Suite("Private networks", .timeLimit(.minutes(2)))
struct NetworkTests {
    @Test("addresses and ranges are read strictly")
    func addresses() throws {
        #expect(IPv4Address("192.168.0.1")?.description == "192.168.0.1")
        for text in ["", "1.2.3", "1.2.3.4.5", "256.0.0.1", "1.2.3.-4", "01.2.3.4", "1.2.3.4 ", "a.b.c.d", "1..2.3"] {
            #expect(IPv4Address(text) == nil, "\(text)")
        }
        let range = try #require(IPv4Subnet("192.168.7.9/24"))
        #expect(range.description == "192.168.7.0/24" && range.mask.description == "255.255.255.0")
        for (text, isHost) in [
            ("192.168.7.1", true), ("192.168.7.254", true), ("192.168.7.0", false),
            ("192.168.7.255", false), ("192.168.8.1", false),
        ] {
            let address = try #require(IPv4Address(text))
            #expect(range.isHost(address) == isHost, "\(text)")
        }
        for text in [
            "192.168.0.0", "192.168.0.0/31", "192.168.0.0/7", "192.168.0.0/x", "/24", "1.2.3.4/24/5", "1.2.3.4/+9",
        ] {
            #expect(IPv4Subnet(text) == nil, "\(text)")
        }
    }

    /// The daemon's side of networks.
    private actor Daemon {
        var nodes: [String: String] = [:]
        var addresses: [String]
        var lines: [String] = []
        var exists = false

        init(addresses: [String] = ["192.168.0.1/24"]) { self.addresses = addresses }

        func answer(_ request: ScriptedRequest) -> ScriptedReply {
            lines.append(request.line)
            let net = "/net-api/v2/vpn/net"
            switch request.line {
            case "GET /me": return .json(["identity": "0xme", "name": "me", "role": "manager"])
            case "POST \(net)":
                exists = true
                return .json(["id": "net1", "ip": request.body["ip"] ?? .null, "mask": request.body["mask"] ?? .null])
            case "GET \(net)/net1/addresses": return .json(.array(addresses.map { ["ip": .string($0)] }))
            case "POST \(net)/net1/addresses":
                addresses.append(request.body["ip"]?.string ?? "")
                return .json(nil)
            case "POST \(net)/net1/nodes":
                let id = request.body["id"]?.string ?? ""
                guard nodes[id] == nil else { return .json(["message": "taken"], status: 409) }
                nodes[id] = request.body["ip"]?.string
                return .json(nil)
            case "DELETE \(net)/net1/nodes/0xa":
                nodes["0xa"] = nil
                return .json(nil)
            case "DELETE \(net)/net1":
                exists = false
                return .json(nil)
            default: return .json(["message": nil], status: 404)
            }
        }
    }

    @Test("a network is made, nodes get addresses of their own, and all is removed", arguments: [true, false])
    func life(hasAddress: Bool) async throws {
        let daemon = Daemon(addresses: hasAddress ? ["192.168.0.1/24"] : [])
        let script: ScriptedServer.Script = { await daemon.answer($0) }
        try await ScriptedServer.with(script) { client, _ in
            try await client.withNetwork { network in
                #expect(network.ownAddress.description == "192.168.0.1")
                #expect(try await network.add("0xa").description == "192.168.0.2")
                let nine = try #require(IPv4Address("192.168.0.9"))
                #expect(try await network.add("0xb", at: nine) == nine)
                #expect(try await network.add("0xc").description == "192.168.0.3")
                let deployment = try #require(await network.deployment(of: "0xa"))
                let deploy = Command.deployWith(networks: [deployment]).json["deploy"]?["net"]?.array?.first
                #expect(deploy?["id"]?.string == "net1" && deploy?["nodeIp"]?.string == "192.168.0.2")
                #expect(deploy?["ip"]?.string == "192.168.0.0" && deploy?["mask"]?.string == "255.255.255.0")
                let nodes: JSON = [
                    "192.168.0.1": "0xme", "192.168.0.2": "0xa", "192.168.0.3": "0xc", "192.168.0.9": "0xb",
                ]
                #expect(deploy?["nodes"] == nodes)
                try await network.remove("0xa")
                #expect(try await network.add("0xd").description == "192.168.0.2", "a free address is used again")
                for (node, address, code) in [
                    ("0xb", nil, GolemError.Code.conflict), ("0xe", "192.168.0.9", .conflict),
                    ("0xe", "192.168.1.1", .usage), ("0xe", "192.168.0.255", .usage),
                ] as [(NodeID, String?, GolemError.Code)] {
                    let error = await #expect(throws: GolemError.self) {
                        try await network.add(node, at: address.flatMap { IPv4Address($0) })
                    }
                    #expect(error?.code == code)
                }
            }
        }
        #expect(await !daemon.exists)
    }

    /// What kind of error `body` ends with.
    private static func refusal<Value>(_ body: () async throws -> Value) async -> GolemError.Code? {
        do {
            _ = try await body()
            return nil
        } catch {
            return (error as? GolemError)?.code
        }
    }

    @Test("a full network refuses, a failing body leaves no network behind, a wrong range asks nothing")
    func bounds() async throws {
        struct Enough: Error {}
        let daemon = Daemon(addresses: ["10.0.0.1"])
        let script: ScriptedServer.Script = { await daemon.answer($0) }
        try await ScriptedServer.with(script) { client, _ in
            await #expect(throws: Enough.self) {
                try await client.withNetwork("10.0.0.0/30") { network in
                    _ = try await network.add("0xa")
                    let code = await Self.refusal { try await network.add("0xb") }
                    #expect(code == .refused)
                    throw Enough()
                }
            }
            #expect(await !daemon.exists)
            let calls = await daemon.lines.count
            let error = await #expect(throws: GolemError.self) { try await client.withNetwork("10.0.0.0") { _ in } }
            #expect(error?.code == .usage)
            #expect(await daemon.lines.count == calls)
        }
    }

    /// Answers each socket with what it was sent, behind the path it was opened with.
    private func echo(_ server: ScriptedServer) async throws {
        let close = WebSocketFrame(fin: true, opcode: .connectionClose, data: ByteBuffer())
        try await withThrowingDiscardingTaskGroup { group in
            for await (path, socket) in server.sockets {
                group.addTask {
                    try await socket.executeThenClose { inbound, outbound in
                        try await outbound.write(
                            WebSocketFrame(fin: true, opcode: .ping, data: ByteBuffer(string: "p")))
                        try await outbound.write(
                            WebSocketFrame(fin: true, opcode: .binary, data: ByteBuffer(string: path + "\n")))
                        for try await frame in inbound {
                            switch frame.opcode {
                            case .binary:
                                var data = frame.unmaskedData
                                let isLast = data.readableBytesView.last == UInt8(ascii: "!")
                                try await outbound.write(
                                    WebSocketFrame(
                                        fin: true, opcode: .binary, data: data.readSlice(length: data.readableBytes)!))
                                // The answer to it ends the socket, as in RFC 6455.
                                if isLast { try await outbound.write(close) }
                            case .connectionClose: return
                            default: continue
                            }
                        }
                    }
                }
            }
        }
    }

    /// Sends to a local port and reads until the other side closes.
    private func exchange(_ port: Int, _ bytes: [UInt8]) async throws -> [UInt8] {
        let connection = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        return try await connection.executeThenClose { inbound, outbound in
            try await outbound.write(ByteBuffer(bytes: bytes))
            var all: [UInt8] = []
            for try await buffer in inbound { all += buffer.readableBytesView }
            return all
        }
    }

    @Test("connections to a local port become connections to a machine's port, several at once, large ones too")
    func proxy() async throws {
        let daemon = Daemon()
        let script: ScriptedServer.Script = { await daemon.answer($0) }
        try await ScriptedServer.with(script) { client, server in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.echo(server) }
                try await client.withNetwork { network in
                    let address = try await network.add("0xa")
                    try await network.withTCPProxy(to: address, port: 8080) { port in
                        let path = Array("/net-api/v2/vpn/net/net1/tcp/192.168.0.2/8080\n".utf8)
                        let large = [UInt8](repeating: 7, count: 300_000) + [UInt8(ascii: "!")]
                        try await withThrowingTaskGroup(of: Void.self) { group in
                            for data in [Array("hello!".utf8), large, Array("!".utf8)] {
                                group.addTask {
                                    let answer = try await self.exchange(port, data)
                                    // Not compared by #expect: it would look for the least difference, for minutes.
                                    let isSame = answer == path + data
                                    #expect(isSame, "\(answer.count) bytes of \(path.count + data.count)")
                                }
                            }
                            try await group.waitForAll()
                        }
                    }
                    for port in [0, 65_536, -1] {
                        let error = await #expect(throws: GolemError.self) {
                            try await network.withTCPProxy(to: address, port: port) { _ in }
                        }
                        #expect(error?.code == .usage)
                    }
                    try await network.withTCPProxy(to: address, port: 1) { taken in
                        let error = await #expect(throws: GolemError.self) {
                            try await network.withTCPProxy(to: address, port: 1, listening: taken) { _ in }
                        }
                        #expect(error?.code == .io)
                    }
                }
                group.cancelAll()
            }
        }
        #expect(await !daemon.exists)
    }

    @Test("a daemon that refuses the connection closes it for the client, and the proxy goes on")
    func refusedConnection() async throws {
        let script: ScriptedServer.Script = { _ in .json([:]) }
        try await ScriptedServer.with(script) { client, server in
            await server.stop()
            let network = try await ScriptedNetwork.make(client)
            try await network.withTCPProxy(to: try #require(IPv4Address("192.168.0.2")), port: 80) { port in
                for _ in 1...3 {
                    // Closed with bytes that nobody read: an end, or a reset.
                    do {
                        let answer = try await self.exchange(port, [1, 2, 3])
                        #expect(answer == [])
                    } catch let error as IOError {
                        #expect(error.errnoCode == ECONNRESET || error.errnoCode == EPIPE, "\(error)")
                    }
                }
            }
        }
    }
}

/// A network that needs no daemon to be made.
private enum ScriptedNetwork {
    static func make(_ client: GolemClient) async throws -> VirtualNetwork {
        VirtualNetwork(
            client: client, id: "net1", subnet: try #require(IPv4Subnet("192.168.0.0/24")), own: "0xme",
            address: try #require(IPv4Address("192.168.0.1")))
    }
}
