import Tensors
import TestSupport
import Testing

@Suite struct GzipTests {
    static let text =
        Array("the same bytes in, the same bytes out; ".utf8) + (0..<5000).map { UInt8(truncatingIfNeeded: $0 / 7) }

    @Test func everySizeSurvives() throws {
        for count in [0, 1, 2, 100, 65_535, 65_536, 1_000_003] {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 5) }
            for level in [0, 1, 6, 9] {
                let packed = try Gzip.compress(bytes, level: level)
                #expect(try Gzip.decompress(packed, maximumBytes: count) == bytes, "\(count) bytes, level \(level)")
            }
        }
    }

    @Test func hasNeitherTimeNorName() throws {
        let packed = try Gzip.compress(Self.text)
        #expect(Array(packed[..<9]) == [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0])
    }

    @Test func membersAreJoined() throws {
        let members = try Gzip.compress(Self.text) + Gzip.compress([]) + Gzip.compress(Self.text)
        #expect(try Gzip.decompress(members, maximumBytes: 1 << 20) == Self.text + Self.text)
    }

    @Test func everyTruncationIsRefused() throws {
        let packed = try Gzip.compress(Self.text)
        for count in 2..<packed.count {
            let error = failure { _ = try Gzip.decompress(Array(packed[..<count]), maximumBytes: 1 << 20) }
            #expect(error?.code == .truncated, "\(count) of \(packed.count) bytes: \(error?.summary ?? "no error")")
        }
        #expect(failure { _ = try Gzip.decompress([], maximumBytes: 1) }?.code == .malformed)
        #expect(failure { _ = try Gzip.decompress([0x1f], maximumBytes: 1) }?.code == .malformed)
    }

    @Test func everyDamagedByteIsNoticed() throws {
        let packed = try Gzip.compress(Self.text)
        // Bytes 4 to 9 of the header say time, level and system, which nobody checks; all others count.
        for index in packed.indices where !(4..<10).contains(index) && index != 3 {
            var damaged = packed
            damaged[index] ^= 0x20
            #expect(failure { _ = try Gzip.decompress(damaged, maximumBytes: 1 << 20) } != nil, "byte \(index)")
        }
    }

    @Test func whatFollowsIsRefused() throws {
        let error = failure { _ = try Gzip.decompress(try Gzip.compress(Self.text) + [0], maximumBytes: 1 << 20) }
        #expect(error?.code == .malformed)
        #expect(error?.message == "1 bytes follow the end of the gzip stream")
    }

    @Test func expansionIsBounded() throws {
        let bomb = try Gzip.compress([UInt8](repeating: 0, count: 10_000_000))
        for limit in [0, 1, 100_000, 9_999_999] {
            let error = failure { _ = try Gzip.decompress(bomb, maximumBytes: limit) }
            #expect(error?.code == .tooLarge, "limit \(limit): \(error?.summary ?? "no error")")
        }
        #expect(try Gzip.decompress(bomb, maximumBytes: 10_000_000).count == 10_000_000)
    }

    @Test func aWrongPromiseOfSizeIsOnlyAHint() throws {
        // Two members: the last four bytes speak of the second alone.
        let members = try Gzip.compress([UInt8](repeating: 1, count: 3_000_000)) + Gzip.compress([2])
        let bytes = try Gzip.decompress(members, maximumBytes: 4_000_000)
        #expect(bytes.count == 3_000_001 && bytes.last == 2)
    }

    @Test func streamsPieceByPiece() throws {
        var deflater = try Deflater(.zlib)
        var inflater = try Inflater(.zlib)
        var packed: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 7)
        var position = 0
        var ended = false
        while !ended {
            let piece = Array(Self.text[position..<min(position + 13, Self.text.count)])
            let isLast = position + piece.count == Self.text.count
            let step = try piece.withUnsafeBytes { input in
                try room.withUnsafeMutableBytes { try deflater.step(from: input, into: $0, finish: isLast) }
            }
            packed += room[..<step.produced]
            position += step.consumed
            ended = step.ended
        }
        var back: [UInt8] = []
        position = 0
        ended = false
        while !ended {
            let piece = Array(packed[position..<min(position + 11, packed.count)])
            let step = try piece.withUnsafeBytes { input in
                try room.withUnsafeMutableBytes { try inflater.step(from: input, into: $0) }
            }
            back += room[..<step.produced]
            position += step.consumed
            ended = step.ended
        }
        #expect(back == Self.text)
    }

    @Test func rawStreamsMustHaveThePromisedSize() throws {
        let packed = try Gzip.compress(Self.text)
        let raw = packed[10..<packed.count - 8]
        #expect(try Gzip.inflateRaw(raw, count: Self.text.count) == Self.text)
        #expect(failure { _ = try Gzip.inflateRaw(raw, count: Self.text.count - 1) }?.code == .tooLarge)
        #expect(failure { _ = try Gzip.inflateRaw(raw, count: Self.text.count + 1) }?.code == .truncated)
        #expect(failure { _ = try Gzip.inflateRaw(raw, count: 1 << 40) }?.code == .malformed)
        #expect(failure { _ = try Gzip.inflateRaw(raw.dropLast(), count: Self.text.count) }?.code == .truncated)
        #expect(failure { _ = try Gzip.inflateRaw(raw + [0], count: Self.text.count) }?.code == .malformed)
    }

    @Test func checksumIsThatOfZip() {
        #expect(crc32(Array("123456789".utf8)[...]) == 0xcbf4_3926)
    }
}
