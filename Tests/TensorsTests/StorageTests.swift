import Foundation
import Synchronization
import Tensors
import TestSupport
import Testing

@Suite struct StorageTests {
    /// Bytes of every origin, and slices of them, are the same bytes.
    @Test func everyOriginGivesTheSameBytes() throws {
        try withScratch { folder in
            let floats = (0..<1000).map { Float($0) * 0.25 - 7 }
            let bytes = floats.withUnsafeBytes { Array($0) }
            try Files.writeAtomically(bytes, to: "\(folder)/bytes")
            let padded = [1, 2, 3] + bytes
            let regions = [
                ByteRegion(bytes), ByteRegion(padded[3...]), ByteRegion(floats[...]),
                ByteRegion((floats + floats)[1000...]), ByteRegion(try MappedFile("\(folder)/bytes")),
            ]
            for (origin, region) in regions.enumerated() {
                #expect(region.count == bytes.count && Array(region) == bytes, "origin \(origin)")
                #expect(region.withContiguousStorageIfAvailable { Array($0) } == bytes, "origin \(origin)")
                #expect(region == regions[0] && region.sha256() == sha256Hex(bytes), "origin \(origin)")
                let start = region.startIndex
                for (first, end) in [(0, 0), (0, 4), (1, 3), (13, 999), (3999, 4000), (4000, 4000)] {
                    let slice = region[start + first..<start + end]
                    #expect(Array(slice) == Array(bytes[first..<end]), "origin \(origin), \(first)..<\(end)")
                    #expect(slice.withUnsafeBytes { Array($0) } == Array(bytes[first..<end]))
                    if first < end { #expect(slice[start + first] == bytes[first]) }
                }
            }
            #expect(regions[0] != ByteRegion(padded) && ByteRegion([UInt8]()) == ByteRegion([Float]()[...]))
        }
    }

    @Test func relinquishedPagesAreReadAgain() throws {
        try withScratch { folder in
            let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
            try Files.writeAtomically(bytes, to: "\(folder)/bytes")
            let region = ByteRegion(try MappedFile("\(folder)/bytes"))
            for (first, end) in [(0, 100_000), (0, 1), (5000, 5001), (4096, 8192), (99_999, 100_000), (7, 7)] {
                region[first..<end].relinquish()
                #expect(region == ByteRegion(bytes), "\(first)..<\(end)")
            }
        }
    }

    /// What takes the name of a mapped file leaves what is mapped alone.
    @Test func aMappedFileOutlivesItsName() throws {
        try withScratch { folder in
            let path = "\(folder)/weights.safetensors"
            try Safetensors(tensors: [("w", Tensor(shape: [2], floats: [1, 2]))]).write(to: path)
            let mapped = try Safetensors(contentsOf: path, mapping: true)
            try Safetensors(tensors: [("w", Tensor(shape: [1], floats: [3]))]).write(to: path)
            #expect(try #require(mapped["w"]).floats() == [1, 2])
            try Files.remove(path)
            #expect(try #require(mapped["w"]).floats() == [1, 2])
        }
    }

    @Test func mappedFilesAreCheckedAsReadOnesAre() throws {
        try withScratch { folder in
            let path = "\(folder)/file"
            #expect(failure { _ = try MappedFile(path) }?.code == .notFound)
            #expect(failure { _ = try MappedFile(folder) }?.code == .io)
            try Files.writeAtomically([], to: path)
            #expect(try MappedFile(path).count == 0)
            #expect(failure { _ = try Safetensors(contentsOf: path, mapping: true) }?.code == .truncated)
            try Files.writeAtomically(rawFile("{}", data: 1), to: path)
            let error = failure { _ = try Safetensors(contentsOf: path, mapping: true) }
            #expect(error?.code == .malformed && error?.place == path)
            // What stays in its file may have any size; what is expanded may not.
            let (small, plain) = (100, "every_type.safetensors")
            #expect(try Safetensors(contentsOf: fixture(plain), maximumBytes: small, mapping: true).tensors.count > 0)
            #expect(failure { _ = try Safetensors(contentsOf: fixture(plain), maximumBytes: small) }?.code == .tooLarge)
            let packed = fixture("shard.safetensors.gz")
            #expect(
                failure { _ = try Safetensors(contentsOf: packed, maximumBytes: small, mapping: true) }?.code
                    == .tooLarge)
            for name in ["every_type.safetensors", "odd_names.safetensors", "shard.safetensors.gz"] {
                let (file, sha256) = try Safetensors.load(fixture(name), mapping: true)
                let (read, digest) = try Safetensors.load(fixture(name))
                #expect(file == read && sha256 == digest, "\(name)")
            }
        }
    }

    @Test func whatIsNotCommittedLeavesNothing() throws {
        try withScratch { folder in
            let path = "\(folder)/file"
            try Files.writeAtomically([1], to: path)
            do {
                let file = try DurableFile(path)
                try file.write([2, 3])
                #expect(try Files.names(in: folder).count == 2)
            }
            #expect(try Files.names(in: folder) == ["file"] && Files.read(path, maximumBytes: 1) == [1])
            let file = try DurableFile(path)
            for byte in 0..<200 { try file.write([UInt8](repeating: UInt8(byte), count: byte * 37)) }
            let bytes = (0..<200).flatMap { [UInt8](repeating: UInt8($0), count: $0 * 37) }
            #expect(file.count == bytes.count)
            #expect(try file.commit() == sha256Hex(bytes))
            #expect(try Files.names(in: folder) == ["file"] && Files.read(path, maximumBytes: 1 << 20) == bytes)
            #expect(try Files.sha256(of: path) == sha256Hex(bytes))
        }
    }

    @Test func piecesOfAnySizeMakeOneFile() throws {
        try withScratch { folder in
            for sizes in [
                [1 << 20], [3 << 20, 1], [5, 3 << 20, 7], [(1 << 20) - 1, 1, 1], [1 << 19, 1 << 19, 0, 2 << 20],
            ] {
                let file = try DurableFile("\(folder)/pieces")
                var bytes: [UInt8] = []
                for (number, size) in sizes.enumerated() {
                    let piece = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ number) }
                    try file.write(piece)
                    bytes += piece
                }
                #expect(try file.commit() == sha256Hex(bytes), "\(sizes)")
                #expect(try Files.read("\(folder)/pieces", maximumBytes: 8 << 20) == bytes, "\(sizes)")
            }
        }
    }

    /// A small file is read at once, a large one stays where it is, and one that is not there is told by its reader.
    @Test func largeFilesAreWorthMapping() throws {
        try withScratch { folder in
            let path = "\(folder)/file"
            try Files.writeAtomically([1], to: path)
            #expect(!MappedFile.isWorthIt(path) && !MappedFile.isWorthIt("\(folder)/nothing"))
            #expect(truncate(path, 64 << 20) == 0)
            #expect(MappedFile.isWorthIt(path))
            #expect(failure { _ = try Safetensors(contentsOf: "\(folder)/nothing", mapping: true) }?.code == .notFound)
        }
    }

    @Test func everyPartIsDoneOnce() {
        for threads in [0, 1, 2, 3, 8, 40] {
            for count in [0, 1, 2, 7, 100] {
                let seen = Mutex([Int](repeating: 0, count: count))
                inParallel(count, threads: threads) { index in seen.withLock { $0[index] += 1 } }
                #expect(seen.withLock { $0.allSatisfy { $0 == 1 } }, "\(count) parts on \(threads) threads")
            }
        }
        #expect(availableProcessors() >= 1 && availableProcessors() <= 4096)
    }
}

/// gzip files as they are written: in blocks, on any number of threads.
@Suite struct BlockGzipTests {
    static let block = 1 << 20

    private static func content(_ kind: String, _ count: Int) -> [UInt8] {
        var generator = SeededGenerator(seed: 7, purpose: "gzip")
        switch kind {
        case "zeros": return [UInt8](repeating: 0, count: count)
        case "noise": return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        // Columns of zeros and ones, as tables have them.
        case "columns":
            let rows: [[Float]] = (0..<16).map { row in (0..<8).map { $0 == row % 8 ? 1 : 0 } }
            let table = (0..<count / 32 + 1).flatMap { _ in rows[Int(generator.next() % 16)] }
            return Array(table.withUnsafeBytes { Array($0) }.prefix(count))
        // Runs of every length that there is a symbol for, and longer ones, with bytes of their own between them.
        case "runs":
            var bytes: [UInt8] = []
            while bytes.count < count {
                let byte = UInt8(truncatingIfNeeded: generator.next() % 3)
                bytes += repeatElement(byte, count: Int(generator.next() % 600))
                bytes += (0..<Int(generator.next() % 5)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
            }
            return Array(bytes.prefix(count))
        // Each byte half as often as the one before: codes that would be longer than any may be.
        case "rare":
            return (0..<count).map { _ in
                UInt8(min(generator.next().trailingZeroBitCount + generator.next().trailingZeroBitCount, 90))
            }
        case "bytes": return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next() % 40) }
        default:
            let floats = (0..<count / 4 + 1).map { _ in Float(Int32(truncatingIfNeeded: generator.next())) * 1e-13 }
            return Array(floats.withUnsafeBytes { Array($0) }.prefix(count))
        }
    }

    private static let kinds = ["zeros", "noise", "columns", "floats", "runs", "rare", "bytes"]

    @Test(arguments: kinds)
    func theBytesAreThoseOfAnyNumberOfThreads(kind: String) throws {
        try withScratch { folder in
            for count in [0, 1, 1000, Self.block - 1, Self.block, 2 * Self.block + 5, 5 * Self.block] {
                // A header of 128 bytes stands before: boundaries of blocks fall anywhere into the tensor.
                let bytes = Self.content(kind, count)
                let file = Safetensors(tensors: [("x", Tensor(shape: [count], bytes: bytes))])
                var digests: [String] = []
                for threads in [1, 2, 3, 7] {
                    let path = "\(folder)/x.safetensors.gz"
                    digests.append(try file.write(to: path, threads: threads))
                    let stored = try Files.read(path, maximumBytes: 1 << 24)
                    #expect(Array(stored[..<10]) == [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])
                    #expect(sha256Hex(stored) == digests.last)
                    #expect(try Gzip.decompress(stored, maximumBytes: 1 << 24) == file.encoded(), "\(kind) \(count)")
                    #expect(try Safetensors(contentsOf: path) == file)
                }
                #expect(Set(digests).count == 1, "\(kind), \(count) bytes: the threads show in the file")
            }
        }
    }

    @Test func rowsAreWrittenWithoutGatheringThem() throws {
        try withScratch { folder in
            let wide = Tensor(shape: [3000, 50], floats: (0..<150_000).map { Float($0) })
            let labels = Tensor(shape: [3000], int64s: (0..<3000).map { Int64($0 % 7) })
            let nothing = Tensor(shape: [3000, 0], floats: [])
            let tensors = [("x", wide), ("y", labels), ("z", nothing)]
            for rows in [[], [2999], Array((0..<3000).reversed()), (0..<5000).map { $0 * 7 % 3000 }] {
                let gathered = Safetensors(tensors: tensors.map { ($0.0, $0.1.gatherRows(rows)) }, metadata: ["a": "b"])
                for name in ["rows.safetensors", "rows.safetensors.gz"] {
                    let path = "\(folder)/\(name)"
                    let digest = try Safetensors(tensors: tensors, metadata: ["a": "b"]).write(to: path, rows: rows)
                    let found = try Safetensors(contentsOf: path).encoded()
                    #expect(found == gathered.encoded(), "\(rows.count) rows, \(name)")
                    #expect(try gathered.write(to: path) == digest)
                }
            }
        }
    }

    /// Each kind about as small as zlib's default makes it, or smaller.
    @Test(arguments: kinds)
    func nothingBecomesMuchLargerThanByDefault(kind: String) throws {
        try withScratch { folder in
            let file = Safetensors(tensors: [("x", Tensor(shape: [3_000_000], bytes: Self.content(kind, 3_000_000)))])
            try file.write(to: "\(folder)/x.gz")
            let size = try #require(Files.size(of: "\(folder)/x.gz"))
            let byDefault = try Gzip.compress(file.encoded()).count
            #expect(Double(size) < Double(byDefault) * 1.07 + 1000, "\(size) bytes, by default \(byDefault)")
        }
    }
}
