import Foundation
import Golem
import SHA3
import Testing

@Suite("Files over the bus, without a bus")
struct TransferTests {
    private func path() -> String { NSTemporaryDirectory() + "golem-transfer-\(UInt64.random(in: 0 ... .max))" }

    private func chunk(_ offset: Int, _ bytes: some Collection<UInt8>) -> FlexValue {
        .map(["chunk": .map(["offset": .uint(UInt64(offset)), "content": .blob(Array(bytes)[...])])])
    }

    @Test("a source answers for every offset and size, short at the end", arguments: [true, false])
    func source(fromFile: Bool) throws {
        let data = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 * 31) }
        let file = path()
        if fromFile { try Data(data).write(to: URL(fileURLWithPath: file)) }
        defer { try? FileManager.default.removeItem(atPath: file) }
        let reader = try SourceReader(fromFile ? .file(file) : .bytes(data))
        #expect(try reader.answer("GetMetadata", .map([:])) == .map(["fileSize": .uint(100_000)]))
        for (offset, size) in [(0, 40_960), (81_920, 40_960), (99_999, 1), (100_000, 10), (200_000, 10), (5, 0)] {
            let answer = try reader.answer(
                "GetChunk", .map(["offset": .int(Int64(offset)), "size": .uint(UInt64(size))]))
            let expected = data[min(offset, data.count)..<min(offset + size, data.count)]
            #expect(answer["content"]?.bytes.map { Array($0) } == Array(expected))
            #expect(answer["offset"]?.integer == offset)
        }
        for payload in [
            FlexValue.null, .map(["offset": .int(-1), "size": .int(5)]),
            .map(["offset": .int(0), "size": .int(70_000)]),
        ] {
            #expect(throws: ServiceRefusal.self) { try reader.answer("GetChunk", payload) }
        }
    }

    @Test("pieces in any order, some twice, make the file; it appears only when it is whole")
    func outOfOrder() async throws {
        let file = path()
        defer { try? FileManager.default.removeItem(atPath: file) }
        var random = Repeatable(seed: 2)
        let data = (0..<300_001).map { _ in UInt8.random(in: 0...255, using: &random) }
        let upload = try Upload(path: file, maximumBytes: data.count)
        let offsets = Array(stride(from: 0, to: data.count, by: 40_960))
        for offset in (offsets + offsets.prefix(3)).shuffled(using: &random) {
            let piece = data[offset..<min(offset + 40_960, data.count)]
            #expect(try await upload.answer("UploadChunk", chunk(offset, piece)) == .null)
        }
        #expect(!FileManager.default.fileExists(atPath: file))
        _ = try await upload.answer("UploadFinished", .map(["hash": .string(SHA3.hash256(data))]))
        let received = try await upload.conclude()
        #expect(received.byteCount == data.count && received.sha3 == SHA3.hash256(data))
        #expect(try Array(Data(contentsOf: URL(fileURLWithPath: file))) == data)
    }

    @Test("content as a vector of numbers, no hash, and an empty file are taken too")
    func odd() async throws {
        let file = path()
        defer { try? FileManager.default.removeItem(atPath: file) }
        let upload = try Upload(path: file, maximumBytes: 10)
        _ = try await upload.answer(
            "UploadChunk", .map(["chunk": .map(["offset": .int(0), "content": .vector([.int(7), .uint(255)])])]))
        _ = try await upload.answer("UploadFinished", .map(["hash": .null]))
        #expect(try await upload.conclude().byteCount == 2)
        let empty = try Upload(path: file, maximumBytes: 10)
        _ = try await empty.answer(
            "UploadFinished",
            .map(["hash": .string("a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a")]))
        #expect(try await empty.conclude().byteCount == 0)
    }

    @Test("a gap, a wrong hash, too much, and nothing at all are found")
    func bad() async throws {
        let file = path()
        func fails(_ steps: (Upload) async throws -> Void) async throws -> GolemError? {
            let upload = try Upload(path: file, maximumBytes: 100)
            defer { upload.discard() }
            try? await steps(upload)
            return await #expect(throws: GolemError.self) { _ = try await upload.conclude() }
        }
        let gap = try await fails {
            _ = try await $0.answer("UploadChunk", chunk(5, [1, 2]))
            _ = try await $0.answer("UploadFinished", .map([:]))
        }
        #expect(gap?.message.contains("gap") == true)
        let hash = try await fails {
            _ = try await $0.answer("UploadChunk", chunk(0, [1, 2]))
            _ = try await $0.answer("UploadFinished", .map(["hash": .string("00")]))
        }
        #expect(hash?.code == .corrupted && hash?.message.contains("announced") == true)
        let large = try await fails { _ = try await $0.answer("UploadChunk", chunk(99, [1, 2])) }
        #expect(large?.message.contains("100 bytes") == true)
        let huge = try await fails { _ = try await $0.answer("UploadChunk", chunk(.max, [1])) }
        #expect(huge?.code == .corrupted)
        let nothing = try await fails { _ = try await $0.answer("UploadChunk", chunk(0, [1])) }
        #expect(nothing?.message.contains("did not finish") == true)
        #expect(
            !FileManager.default.fileExists(atPath: file) && !FileManager.default.fileExists(atPath: file + ".part"))
    }

    @Test("ranges are merged as a set of bytes would be")
    func ranges() {
        var random = Repeatable(seed: 9)
        for _ in 0..<500 {
            var list = RangeList()
            var set = Set<Int>()
            for _ in 0..<Int.random(in: 0...12, using: &random) {
                let start = Int.random(in: 0...40, using: &random)
                let range = start..<start + Int.random(in: 0...15, using: &random)
                list.insert(range)
                set.formUnion(range)
            }
            #expect(Set(list.ranges.flatMap { Array($0) }) == set)
            #expect(zip(list.ranges, list.ranges.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
            let end = (set.max() ?? -1) + 1
            #expect(list.end == end && list.firstGap == (0..<end).first { !set.contains($0) })
        }
    }
}
