import Foundation
import Golem
import NIOCore
import NIOWebSocket
import Synchronization
import Testing

/// How few connections a batch with files needs.
@Suite("Connections of a batch")
struct TransferWindowTests {
    @Test("each command is waited for by its index, and told of, but for the end")
    func commands() async throws {
        let asked = Recorder<String?>()
        @Sendable func result(_ index: Int, last: Bool) -> JSON {
            ["index": JSON(index), "result": "Ok", "isBatchFinished": .bool(last)]
        }
        try await ScriptedServer.with { request in
            if request.method == "POST" { return .answer(200, #""batch""#) }
            asked.add(request.query["commandIndex"])
            switch asked.all.count {
            case 1: return .answer(408, #"{"message":"Timeout"}"#)
            case 2: return .json([result(0, last: false)])
            // More than was waited for.
            case 3: return .json([result(0, last: false), result(1, last: false), result(2, last: false)])
            default: return .json(.array((0..<4).map { result($0, last: $0 == 3) }))
            }
        } _: { client, _ in
            let session = ActivitySession(
                client: client, activityID: "a", label: "p", daemonPatience: .seconds(5),
                expiration: .now() + .seconds(3600))
            let done = Recorder<Int>()
            let commands = Array(repeating: Command.deploy, count: 4)
            let batch = try await session.run(commands, limit: .seconds(20), onDone: { done.add($0) })
            #expect(batch.succeeded && asked.all == ["0", "0", "1", "3"] && done.all == [1, 3])
        }
    }

    @Test("a file has a socket within its window only; a daemon that restarts before is told of the address again")
    func window() async throws {
        let bound = Mutex(0)
        try await ScriptedServer.with { request in
            switch request.line {
            case "GET /me": return .answer(200, #"{"identity":"0xme","name":"n","role":"manager"}"#)
            case "POST /gsb-api/v1/services":
                bound.withLock { $0 += 1 }
                return .answer(201, #"{"listen":{},"servicesId":"sid"}"#)
            case "GET /version/get": return .hangUp
            default: return .answer(200, "null")
            }
        } _: { client, server in
            let window = TransferWindow()
            let isOpened = Mutex(false)
            try await client.serving(.bytes([1, 2, 3]), window) { _ in
                // Restarts: a call breaks off, and the next is answered.
                while bound.withLock({ $0 }) < 3 {
                    _ = try? await client.version()
                    _ = try await client.me()
                }
                isOpened.withLock { $0 = true }
                window.open()
                for await (_, socket) in server.sockets {
                    #expect(isOpened.withLock { $0 }, "no socket before the window opens")
                    try await socket.executeThenClose { inbound, outbound in
                        let request = FlexValue.map([
                            "id": .string("1"), "component": .string("GetChunk"),
                            "payload": .map(["offset": .int(0), "size": .int(9)]),
                        ])
                        try await outbound.write(
                            WebSocketFrame(fin: true, opcode: .binary, data: ByteBuffer(bytes: request.encoded())))
                        var frames = inbound.makeAsyncIterator()
                        let frame = try #require(try await frames.next())
                        let answer = try FlexValue(decoding: Array(frame.unmaskedData.readableBytesView))
                        #expect(answer["payload"]?["content"]?.bytes.map { Array($0) } == [1, 2, 3])
                        window.close()
                        while try await frames.next() != nil {}
                    }
                    return
                }
            }
        }
    }

    @Test("machines that fetch the same file share it; another file at the same path is another")
    func shared() throws {
        let path = NSTemporaryDirectory() + "golem-shared-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        func write(_ text: String) throws -> SharedFiles.Version {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
            return try LocalFile.version(of: path)
        }
        var files = SharedFiles()
        let old = try write("old")
        let first = files.begin(old, path: path)
        let second = files.begin(old, path: path)
        #expect(first.isNew && !second.isNew && first.file === second.file)
        let new = try write("new")
        let third = files.begin(new, path: path)
        #expect(third.isNew && third.file !== first.file)
        files.end(old)
        #expect(first.file.unused.value == nil)
        files.end(old)
        #expect(first.file.unused.value != nil && third.file.unused.value == nil)
        #expect(files.begin(old, path: path).isNew, "what nobody uses is served anew")
        #expect(throws: GolemError.self) { try LocalFile.version(of: path + ".missing") }
    }
}
