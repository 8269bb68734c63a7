import Foundation
import Golem
import NIOCore
import NIOWebSocket
import SHA3
import Synchronization
import Testing

/// The client against a daemon that answers oddly, in every way that the protocol reference lists.
@Suite("Odd answers of the daemon")
struct OddAnswerTests {
    struct Odd: Sendable, CustomTestStringConvertible {
        var reply: ScriptedReply
        var code: GolemError.Code
        var says: String
        var testDescription: String { "\(reply)" }
    }

    @Test(
        "every kind of failure is told apart, with what was asked, of whom, and what came back",
        arguments: [
            Odd(reply: .answer(401, "Missing application key"), code: .unauthorized, says: "Missing application key"),
            Odd(reply: .answer(401, "Invalid application key"), code: .unauthorized, says: "Invalid application key"),
            Odd(reply: .answer(404, #"{"message":null}"#), code: .notFound, says: "knows no such thing"),
            Odd(reply: .answer(501, #"{"message":null}"#), code: .unsupported, says: "cannot do that"),
            Odd(reply: .answer(400, #"{"message":"Bad request: no"}"#), code: .refused, says: "Bad request: no"),
            Odd(reply: .answer(400, "Json deserialize error: missing field"), code: .refused, says: "missing field"),
            Odd(
                reply: .answer(
                    500,
                    #"{"message":"GSB error: Remote service at /net/0x1/exeunit/a error: GSB failure: Bad request: endpoint address not found"}"#
                ), code: .peer, says: "endpoint address not found"),
            Odd(
                reply: .answer(500, #"{"message":"DAO error: Not found: agreement id for activity: nope"}"#),
                code: .daemon,
                says: "DAO error"),
            Odd(reply: .answer(408, #"{"message":"Timeout"}"#), code: .timedOut, says: "Timeout"),
            Odd(reply: .answer(409, #"{"message":"once"}"#), code: .conflict, says: "once"),
            Odd(reply: .answer(410, #"{"message":"Rejected"}"#), code: .gone, says: "Rejected"),
            Odd(reply: .answer(500, ""), code: .daemon, says: "failed"),
            Odd(reply: .answer(302, ""), code: .daemon, says: "failed"),
            Odd(reply: .answer(200, "<html>"), code: .malformed, says: "not JSON"),
            Odd(reply: .answer(200, "[1"), code: .malformed, says: "not JSON"),
            Odd(reply: .answer(200, "[]"), code: .malformed, says: "not an object"),
            Odd(reply: .answer(200, #"{"allocationId":"a","totalAmount":"x"}"#), code: .malformed, says: "totalAmount"),
            Odd(reply: .answer(200, ""), code: .malformed, says: "not an object"),
            Odd(reply: .hangUp, code: .unreachable, says: "cannot be reached"),
            Odd(reply: .torn, code: .unreachable, says: "cannot be reached"),
        ])
    func failures(odd: Odd) async throws {
        try await ScriptedServer.with { _ in
            odd.reply
        } _: { client, server in
            let error = await #expect(throws: GolemError.self) { _ = try await client.payment.allocation("id-1") }
            #expect(error?.code == odd.code)
            #expect(error?.message.contains(odd.says) == true, "\(error?.message ?? "")")
            if odd.code != .malformed {
                #expect(error?.request == "GET /payment-api/v1/allocations/id-1")
                #expect(error?.place == server.url)
            }
            #expect(error.map { String(describing: $0) }?.contains(odd.says) == true)
        }
    }

    @Test("a daemon that is not there")
    func absent() async throws {
        let server = try await ScriptedServer { _ in .answer(200, "null") }
        await server.stop()
        try await GolemClient.with(url: server.url, appKey: "key") { client in
            let error = await #expect(throws: GolemError.self) { _ = try await client.me() }
            #expect(error?.code == .unreachable && error?.hint?.contains("YAGNA_API_URL") == true)
        }
        await #expect(throws: GolemError.self) { try await GolemClient.with(url: "127.0.0.1:1", appKey: "") { _ in } }
    }

    @Test("funds that do not suffice are said to be so, with what is free")
    func funds() async throws {
        let body = #"""
            {"type":"/payment-api/v1/allocations/validation-error","detail":"Insufficient funds to create the allocation. Top up",
            "instance":"/payment-api/v1/allocations/validation-error/insufficient-account-funds","availableFunds":"1000"}
            """#
        try await ScriptedServer.with { _ in
            .answer(400, body)
        } _: { client, _ in
            let error = await #expect(throws: GolemError.self) {
                _ = try await client.payment.allocate(2000, platform: "erc20-hoodi-tglm", timeout: .now())
            }
            #expect(error?.code == .budget && error?.hint?.contains("1000 GLM") == true)
        }
    }

    @Test("padded decimals, numbers for strings, times of every length and unknown fields are read")
    func lenient() async throws {
        let body = #"""
            {"allocationId":"a","totalAmount":"1.000000000000000000","spentAmount":0.5,"timeout":"2026-11-23T20:16:59.1Z","new":{}}
            """#
        try await ScriptedServer.with { _ in
            .answer(200, body)
        } _: { client, _ in
            let allocation = try await client.payment.allocation("a")
            #expect(allocation.total == 1 && allocation.spent == Amount("0.5") && allocation.remaining == Amount("0.5"))
            #expect(allocation.timeout?.nanoseconds == 1_795_465_019_100_000_000)
        }
    }

    @Test("what is over already is no error, and ids come bare or in an object")
    func forgiving() async throws {
        let script: ScriptedServer.Script = { request in
            switch request.line {
            case "DELETE /payment-api/v1/allocations/a": .answer(410, #"{"message":null}"#)
            case "DELETE /market-api/v1/demands/d": .answer(404, #"{"message":"no"}"#)
            case "POST /market-api/v1/agreements/g/terminate": .answer(410, #"{"message":"Terminated"}"#)
            case "POST /activity-api/v1/activity":
                request.query["timeout"] == "5" ? .answer(200, #""bare""#) : .answer(200, #"{"activityId":"in"}"#)
            case "POST /market-api/v1/agreements/g/wait": .answer(410, #"{"message":"Rejected"}"#)
            case "POST /market-api/v1/agreements/h/wait": .answer(408, #"{"message":"Timeout"}"#)
            case "POST /gsb-api/v1/services": .answer(400, #"{"message":"Duplicated service address prefix: /x"}"#)
            default: .answer(500, "")
            }
        }
        try await ScriptedServer.with(script) { client, _ in
            try await client.payment.release("a")
            try await client.market.unsubscribe("d")
            try await client.market.terminate("g", code: "Success", message: "m")
            #expect(try await client.activity.create(agreement: "g", timeout: .seconds(5)) == "bare")
            #expect(try await client.activity.create(agreement: "g", timeout: .seconds(6)) == "in")
            #expect(try await client.market.wait(for: "g", timeout: .zero) == .refused("Rejected"))
            #expect(try await client.market.wait(for: "h", timeout: .zero) == .pending)
            #expect(try await client.services.bind("/public/gftp/abc", components: []) == "L3B1YmxpYy9nZnRwL2FiYw")
        }
    }

    // MARK: Batches

    private func session(
        _ polls: [ScriptedReply], state: String = #"{"state":["Ready",null]}"#, commands: Int = 2,
        limit: Duration = .seconds(20), agreement: Duration = .seconds(3600)
    ) async throws -> Result<BatchResult, GolemError> {
        let left = Mutex(polls[...])
        var outcome: Result<BatchResult, GolemError>?
        try await ScriptedServer.with { request in
            if request.path.hasSuffix("/state") { return .answer(200, state) }
            if request.method == "POST" { return .answer(200, #""batch""#) }
            return left.withLock { $0.count > 1 ? $0.removeFirst() : ($0.first ?? .answer(500, "")) }
        } _: { client, _ in
            let session = ActivitySession(
                client: client, activityID: "a", label: "p", daemonPatience: .seconds(5),
                expiration: .now() + agreement)
            do {
                outcome = .success(try await session.run(Array(repeating: .deploy, count: commands), limit: limit))
                #expect(session.lost.value == nil)
            } catch let error as GolemError {
                outcome = .failure(error)
                #expect(session.lost.value != nil, "a machine whose batch did not end is of no more use")
            }
        }
        return try #require(outcome)
    }

    private static let first =
        #"{"index":0,"result":"Ok","stdout":"one\n","stderr":null,"message":null,"isBatchFinished":false,"eventDate":"2026-11-23T19:29:18.567997Z"}"#
    private static let last =
        #"{"index":1,"result":"Ok","stdout":[116,119,111],"isBatchFinished":true,"eventDate":"2026-11-23T19:29:18Z"}"#
    private static let failed =
        #"{"index":0,"result":"Error","message":"ExeScript command exited with code 3","isBatchFinished":true}"#
    private static let dead = ScriptedReply.answer(500, #"{"message":"GSB error: endpoint address not found"}"#)

    @Test("a storm of 408, empty answers, closed sockets and two failures of the other node are lived through")
    func storm() async throws {
        let storm: [ScriptedReply] = [
            .answer(408, #"{"message":"Timeout"}"#), .answer(408, #"{"message":null}"#), .answer(200, "[]"), .hangUp,
            .torn, .hangUp,
            .answer(200, "[\(Self.first)]"), Self.dead, Self.dead, .answer(200, "[\(Self.first)]"),
            .answer(200, "[\(Self.first),\(Self.last)]"),
        ]
        let result = try await session(storm).get()
        #expect(result.succeeded && result.results.map(\.stdout) == ["one\n", "two"])
    }

    @Test("a command that fails ends its batch, and is no error of the client")
    func failing() async throws {
        let result = try await session([.answer(200, "[\(Self.failed)]")]).get()
        #expect(!result.succeeded && result.failure?.exitCode == 3 && result.results.count == 1)
    }

    @Test("three failures of the other node in a row, or a state that is over, mean that the machine is lost")
    func lost() async throws {
        guard case .failure(let dead) = try await session([Self.dead]) else { throw Unexpected() }
        #expect(dead.code == .machineLost && (dead.cause as? GolemError)?.code == .peer)
        let state = #"{"state":["Terminated",null],"reason":"exe-unit process exited","errorMessage":"exit code 1"}"#
        guard case .failure(let over) = try await session([Self.dead], state: state) else { throw Unexpected() }
        #expect(over.code == .machineLost && over.message.contains("exit code 1"))
        guard case .failure(let gone) = try await session([.answer(404, #"{"message":null}"#)]) else {
            throw Unexpected()
        }
        #expect(gone.code == .machineLost)
    }

    @Test("results belong to their commands, in whatever order and however often a provider tells them")
    func toldTwice() async throws {
        let twice = ScriptedReply.answer(200, "[\(Self.first),\(Self.first)]")
        let all = ScriptedReply.answer(200, "[\(Self.last),\(Self.first),\(Self.last)]")
        let result = try await session([twice, all]).get()
        #expect(result.succeeded && result.results.map(\.index) == [0, 1])
        #expect(result.results.map(\.stdout) == ["one\n", "two"])
    }

    @Test("the end of the agreement ends a batch, and is nobody's fault")
    func agreementIsOver() async throws {
        guard
            case .failure(let error) = try await session([.answer(200, "[]")], agreement: .milliseconds(300))
        else { throw Unexpected() }
        #expect(error.code == .expired && !error.isProvidersFault)
        // A provider that ends it some seconds early, as its clock differs, did nothing wrong either.
        guard case .failure(let early) = try await session([Self.dead], agreement: .seconds(4)) else {
            throw Unexpected()
        }
        #expect(early.code == .expired && !early.isProvidersFault)
    }

    @Test("a command that hangs is given up at the limit")
    func hanging() async throws {
        guard case .failure(let error) = try await session([.answer(200, "[]")], limit: .milliseconds(300)) else {
            throw Unexpected()
        }
        #expect(error.code == .timedOut)
    }

    struct Unexpected: Error {}

    @Test("a stream is left at the end of its batch, which the daemon does not do")
    func stream() async throws {
        let events = [
            #"{"batch_id":"b","index":0,"timestamp":"2026-11-23T19:17:03.451405","kind":{"started":{"command":{}}}}"#,
            #"{"batch_id":"b","index":0,"timestamp":"2026-11-23T19:17:03.5","kind":{"stdout":"line 1\n"}}"#,
            #"{"batch_id":"b","index":0,"timestamp":"2026-11-23T19:17:04","kind":{"finished":{"return_code":0,"message":null}}}"#,
        ]
        try await ScriptedServer.with { request in
            request.headers["accept"] == "text/event-stream" ? .stream(events) : .answer(500, "")
        } _: { client, _ in
            let seen = Mutex<[RuntimeEvent.Kind]>([])
            try await client.activity.stream(of: "b", on: "a", last: 0) { event in
                seen.withLock { $0.append(event.kind) }
            }
            #expect(seen.withLock { $0 } == [.started, .stdout("line 1\n"), .finished(returnCode: 0, message: nil)])
        }
        try await ScriptedServer.with { _ in
            .torn
        } _: { client, _ in
            await #expect(throws: GolemError.self) {
                try await client.activity.stream(of: "b", on: "a", last: 0) { _ in }
            }
        }
    }

    // MARK: Files

    /// The daemon's end of a file's socket.
    private struct Peer {
        var inbound: NIOAsyncChannelInboundStream<WebSocketFrame>.AsyncIterator
        let outbound: NIOAsyncChannelOutboundWriter<WebSocketFrame>

        mutating func ask(_ requests: [(String, FlexValue)]) async throws -> [String: FlexValue] {
            for (index, request) in requests.enumerated() {
                let message = FlexValue.map([
                    "id": .string("\(index)"), "component": .string(request.0), "payload": request.1,
                ])
                try await outbound.write(
                    WebSocketFrame(fin: true, opcode: .binary, data: ByteBuffer(bytes: message.encoded())))
            }
            var answers: [String: FlexValue] = [:]
            while answers.count < requests.count, let frame = try await inbound.next() {
                guard frame.opcode == .binary else { continue }
                #expect(frame.data.readableBytes < 65_536 && frame.fin && frame.maskKey != nil)
                let message = try FlexValue(decoding: Array(frame.unmaskedData.readableBytesView))
                answers[try #require(message["id"]?.string)] = message
            }
            return answers
        }
    }

    private static let binding: ScriptedServer.Script = { request in
        switch request.line {
        case "GET /me": .answer(200, #"{"identity":"0xme","name":"n","role":"manager"}"#)
        case "POST /gsb-api/v1/services": .answer(201, #"{"listen":{},"servicesId":"sid"}"#)
        default: .answer(200, "null")
        }
    }

    @Test("a file is served by offset; after garbage, a replaced socket and a restart serving goes on")
    func serving() async throws {
        try await ScriptedServer.with(Self.binding) { client, server in
            let data = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 * 17) }
            try await client.serving(.bytes(data)) { url in
                #expect(url.hasPrefix("gftp://0xme/"))
                var round = 0
                for await (path, socket) in server.sockets {
                    #expect(path == "/gsb-api/v1/services/sid")
                    try await socket.executeThenClose { inbound, outbound in
                        var peer = Peer(inbound: inbound.makeAsyncIterator(), outbound: outbound)
                        let offsets = stride(from: 0, to: data.count, by: 40_960).shuffled()
                        let chunks = offsets.map {
                            ("GetChunk", FlexValue.map(["offset": .uint(UInt64($0)), "size": .uint(40_960)]))
                        }
                        let answers = try await peer.ask([("GetMetadata", .map([:]))] + chunks)
                        #expect(answers["0"]?["payload"]?["fileSize"]?.integer == data.count)
                        for (index, offset) in offsets.enumerated() {
                            let content = answers["\(index + 1)"]?["payload"]?["content"]?.bytes
                            #expect(content.map { Array($0) } == Array(data[offset..<min(offset + 40_960, data.count)]))
                        }
                        let refused = try await peer.ask([
                            ("GetChunk", .map(["offset": .int(0), "size": .uint(70_000)])), ("Fly", .null),
                        ])
                        #expect(refused["0"]?["error"]?["ReadError"]?.string != nil && refused["1"]?["error"] != nil)
                        // How this socket ends: garbage, a close frame, or just so.
                        switch round {
                        case 0:
                            let garbage = ByteBuffer(bytes: [1, 2, 3, 4, 5])
                            try await outbound.write(WebSocketFrame(fin: true, opcode: .binary, data: garbage))
                            while try await peer.inbound.next() != nil {}
                        case 1:
                            try await outbound.write(
                                WebSocketFrame(
                                    fin: true, opcode: .connectionClose, data: ByteBuffer(bytes: [0x03, 0xF3])))
                        default: break
                        }
                    }
                    round += 1
                    if round == 4 { break }
                }
                #expect(round == 4)
            }
        }
    }

    @Test("a file is received in pieces; a second attempt after a wrong hash is taken")
    func receiving() async throws {
        try await ScriptedServer.with(Self.binding) { client, server in
            let file = "/tmp/golem-receive-\(UInt64.random(in: 0 ... .max))"
            let data = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 * 13) }
            let ((), received) = try await client.receiving(into: file, maximumBytes: 100_000) { _ in
                for await (_, socket) in server.sockets {
                    try await socket.executeThenClose { inbound, outbound in
                        var peer = Peer(inbound: inbound.makeAsyncIterator(), outbound: outbound)
                        let wrong = try await peer.ask([("UploadFinished", .map(["hash": .string("00")]))])
                        #expect(wrong["0"]?["error"]?.string == "IntegrityError")
                        let chunks = stride(from: 0, to: data.count, by: 40_960).reversed().map { offset in
                            let content = Array(data[offset..<min(offset + 40_960, data.count)])
                            return (
                                "UploadChunk",
                                FlexValue.map([
                                    "chunk": .map(["offset": .uint(UInt64(offset)), "content": .blob(content[...])])
                                ])
                            )
                        }
                        let answers = try await peer.ask(chunks)
                        #expect(answers.values.allSatisfy { $0["payload"] == .null && $0["error"] == nil })
                        _ = try await peer.ask([("UploadFinished", .map(["hash": .string(SHA3.hash256(data))]))])
                    }
                    return
                }
            }
            #expect(received.byteCount == data.count)
            try FileManager.default.removeItem(atPath: file)
        }
    }
}
