import Datasets
import Tensors
import TestSupport
import Testing

/// Where Debian's package dataset-fashion-mnist puts its files.
private let fashionFolder = "/usr/share/datasets/fashion-mnist"

@Suite struct IDXTests {
    /// SHA-256 of the decompressed originals (whose MD5 sums are those that torchvision and others publish).
    @Test(arguments: [
        ("train-images-idx3-ubyte.gz", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        ("train-labels-idx1-ubyte.gz", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        ("t10k-images-idx3-ubyte.gz", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        ("t10k-labels-idx1-ubyte.gz", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ])
    func mnistIsTheOriginal(name: String, sum: String) throws {
        let stored = try Files.read("\(mnistFolder)/\(name)", maximumBytes: 20 << 20)
        let content = try Gzip.decompress(stored, maximumBytes: 64 << 20)
        #expect(sha256Hex(content) == sum)
    }

    @Test func mnistIsRead() throws {
        let mnist = try Dataset(path: mnistFolder)
        #expect(mnist.name == "mnist")
        #expect(mnist.classes == 10)
        #expect(mnist.train.x.shape == [60_000, 1, 28, 28] && mnist.train.x.dtype == .u8)
        #expect(mnist.train.y.shape == [60_000] && mnist.train.y.dtype == .u8)
        let test = try #require(mnist.test)
        #expect(test.x.shape == [10_000, 1, 28, 28])
        #expect(try mnist.train.y.rows(0..<10).integers() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
        #expect(try test.y.rows(0..<5).integers() == [7, 2, 1, 0, 4])
    }

    @Test(
        .enabled(if: Files.isDirectory(fashionFolder), "apt-get install dataset-fashion-mnist brings the files"))
    func fashionIsRead() throws {
        let fashion = try Dataset(path: fashionFolder)
        #expect(fashion.train.x.shape == [60_000, 1, 28, 28] && fashion.test?.count == 10_000)
        #expect(fashion.classes == 10)
        #expect(try fashion.train.y.rows(0..<5).integers() == [9, 0, 0, 3, 0])
    }

    @Test func numbersAreBigEndian() throws {
        #expect(try IDX.tensor(storedBytes: idx(type: 0x09, shape: [2], data: [0xff, 1])).integers() == [-1, 1])
        #expect(
            try IDX.tensor(storedBytes: idx(type: 0x0b, shape: [2], data: [0xff, 0xfe, 1, 2])).integers() == [-2, 258])
        #expect(try IDX.tensor(storedBytes: idx(type: 0x0c, shape: [1], data: [0, 1, 2, 3])).integers() == [66_051])
        #expect(try IDX.tensor(storedBytes: idx(type: 0x0d, shape: [1], data: [0x3f, 0xc0, 0, 0])).floats() == [1.5])
        let double = idx(type: 0x0e, shape: [1, 1], data: [0xc0, 0x04, 0, 0, 0, 0, 0, 0])
        #expect(try IDX.tensor(storedBytes: double).floats() == [-2.5])
        #expect(try IDX.tensor(storedBytes: try Gzip.compress(double)).floats() == [-2.5])
    }

    static let hostile: [(what: String, bytes: [UInt8], code: DeMLError.Code)] = [
        ("empty", [], .truncated),
        ("three bytes", [0, 0, 8], .truncated),
        ("no zero bytes", [1, 0, 8, 1, 0, 0, 0, 0], .malformed),
        ("unknown type", idx(type: 0x0a, shape: [1], data: [0]), .dtype),
        ("no dimension", [0, 0, 8, 0], .shape),
        ("dimensions cut off", [0, 0, 8, 2, 0, 0, 0, 1, 0], .truncated),
        ("elements missing", idx(type: 0x08, shape: [3], data: [1, 2]), .truncated),
        ("elements left over", idx(type: 0x08, shape: [1], data: [1, 2]), .malformed),
        ("4 GiB promised", idx(type: 0x08, shape: [0xffff_ffff, 2], data: [1]), .tooLarge),
        ("product overflows", idx(type: 0x0e, shape: [0xffff_ffff, 0xffff_ffff, 0xffff_ffff], data: [1]), .tooLarge),
    ]

    @Test(arguments: hostile.indices)
    func refuses(index: Int) throws {
        let (what, bytes, code) = Self.hostile[index]
        let error = failure { _ = try IDX.tensor(storedBytes: bytes) }
        #expect(error?.code == code, "\(what): \(error?.summary ?? "no error")")
        let zipped = failure { _ = try IDX.tensor(storedBytes: try Gzip.compress(bytes)) }
        #expect(zipped != nil, "\(what), compressed: no error")
    }

    @Test func aBombStopsAtWhatTheHeaderPromises() throws {
        let bomb = try Gzip.compress(idx(type: 0x08, shape: [1000, 2], data: [UInt8](repeating: 0, count: 30_000_000)))
        let error = failure { _ = try IDX.tensor(storedBytes: bomb) }
        #expect(error?.code == .tooLarge, "\(error?.summary ?? "no error")")
        let promise = try Gzip.compress(idx(type: 0x08, shape: [2_000_000_000], data: [0]))
        #expect(failure { _ = try IDX.tensor(storedBytes: promise) }?.code == .truncated)
    }

    @Test func foldersAreChecked() throws {
        try withScratch { folder in
            let images = idx(type: 8, shape: [3, 2, 2], data: Array(0..<12))
            func write(_ name: String, _ bytes: [UInt8]) throws {
                try Files.writeAtomically(bytes, to: "\(folder)/\(name)")
            }
            try write("train-images-idx3-ubyte", images)
            #expect(failure { _ = try Dataset(path: folder) }?.code == .missing)
            try write("train-labels-idx1-ubyte", idx(type: 8, shape: [2], data: [0, 1]))
            #expect(failure { _ = try Dataset(path: folder) }?.code == .mismatch)
            try write("train-labels-idx1-ubyte", idx(type: 8, shape: [3], data: [0, 1, 1]))
            let dataset = try Dataset(path: folder)
            #expect(dataset.train.count == 2 && dataset.test?.count == 1 && dataset.classes == 2)
            try write("t10k-images-idx3-ubyte.gz", try Gzip.compress(images))
            #expect(failure { _ = try Dataset(path: folder) }?.code == .missing)
            try write("t10k-labels-idx1-ubyte.gz", try Gzip.compress(idx(type: 8, shape: [3], data: [2, 1, 1])))
            #expect(try Dataset(path: folder).train.count == 3)
            #expect(try Dataset(path: folder).classes == 3)
            try write("train-labels.idx1-ubyte", images)
            let error = failure { _ = try Dataset(path: folder) }
            #expect(error?.code == .mismatch && error?.place == folder, "\(error?.summary ?? "no error")")
        }
    }
}
