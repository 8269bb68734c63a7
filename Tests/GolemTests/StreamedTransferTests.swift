import Golem
import SHA3
import Testing

@Suite("Files that are handed on while they come")
struct StreamedTransferTests {
    private func chunk(_ offset: Int, _ bytes: some Collection<UInt8>) -> FlexValue {
        .map(["chunk": .map(["offset": .uint(UInt64(offset)), "content": .blob(Array(bytes)[...])])])
    }

    private static let data: [UInt8] = {
        var random = Repeatable(seed: 4)
        return (0..<300_001).map { _ in UInt8.random(in: 0...255, using: &random) }
    }()

    private actor Sink {
        var bytes: [UInt8] = []
        func add(_ piece: [UInt8]) { bytes += piece }
    }

    @Test("pieces in any order, some twice and some at once, are handed on once and in order")
    func order() async throws {
        var random = Repeatable(seed: 5)
        let data = Self.data
        let sink = Sink()
        let upload = StreamedUpload(place: "x", maximumBytes: data.count) {
            await Task.yield()
            await sink.add($0)
        }
        let offsets = Array(stride(from: 0, to: data.count, by: 40_960))
        let order = (offsets + offsets.prefix(3)).shuffled(using: &random)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for offset in order {
                group.addTask {
                    _ = try await upload.answer(
                        "UploadChunk", self.chunk(offset, data[offset..<min(offset + 40_960, data.count)]))
                }
            }
            try await group.waitForAll()
        }
        _ = try await upload.answer("UploadFinished", .map(["hash": .string(SHA3.hash256(data))]))
        let received = try await upload.conclude()
        #expect(received.byteCount == data.count && received.sha3 == SHA3.hash256(data))
        #expect(await sink.bytes == data)
    }

    @Test("a gap, a wrong hash, too much, nothing at all, and an end sent without a beginning are found")
    func bad() async throws {
        func fails(maximum: Int = 100 << 20, _ steps: (StreamedUpload) async throws -> Void) async -> GolemError? {
            let upload = StreamedUpload(place: "provider", maximumBytes: maximum) { _ in }
            try? await steps(upload)
            return await #expect(throws: GolemError.self) { _ = try await upload.conclude() }
        }
        let gap = await fails {
            _ = try await $0.answer("UploadChunk", chunk(5, [1]))
            _ = try await $0.answer("UploadFinished", .map(["hash": .null]))
        }
        #expect(gap?.message.contains("nothing came for byte 0") == true && gap?.place == "provider")
        let wrong = await fails {
            _ = try await $0.answer("UploadChunk", chunk(0, [1]))
            _ = try await $0.answer("UploadFinished", .map(["hash": .string("00")]))
        }
        #expect(wrong?.message.contains("00 was announced") == true)
        let large = await fails(maximum: 10) { _ = try await $0.answer("UploadChunk", chunk(5, [1, 2, 3, 4, 5, 6])) }
        #expect(large?.message.contains("more than the 10 bytes") == true)
        #expect(await fails { _ in }?.message.contains("never finished") == true)
        let piece = [UInt8](repeating: 1, count: 60_000)
        let ahead = await fails { upload in
            for index in 1...400 { _ = try await upload.answer("UploadChunk", chunk(index * 60_000, piece)) }
        }
        #expect(ahead?.message.contains("nothing came for byte 0") == true)
        for payload in [FlexValue.null, .map(["chunk": .map(["offset": .int(-1), "content": .blob([])])])] {
            let upload = StreamedUpload(place: "x", maximumBytes: 10) { _ in }
            await #expect(throws: ServiceRefusal.self) { _ = try await upload.answer("UploadChunk", payload) }
        }
    }

    @Test("what the receiver throws is what comes of it")
    func receiverFails() async throws {
        struct Full: Error {}
        let upload = StreamedUpload(place: "x", maximumBytes: 100) { _ in throw Full() }
        await #expect(throws: ServiceRefusal.self) { _ = try await upload.answer("UploadChunk", chunk(0, [1])) }
        await #expect(throws: ServiceRefusal.self) { _ = try await upload.answer("UploadChunk", chunk(1, [1])) }
        await #expect(throws: Full.self) { _ = try await upload.conclude() }
    }
}
