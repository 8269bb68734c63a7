import Datasets
import Tensors
import TestSupport
import Testing

@Suite struct ReadingTests {
    static let pixels = (0..<180).map { $0 % 251 }

    @Test(arguments: ["keras.npz", "stored.npz"])
    func kerasArchives(name: String) throws {
        let dataset = try Dataset(path: fixture(name))
        #expect(dataset.train.x.shape == [6, 1, 4, 5] && dataset.train.x.dtype == .u8)
        #expect(try dataset.train.x.integers() == Array(Self.pixels[..<120]))
        #expect(try dataset.train.y.integers() == [0, 1, 2, 0, 1, 2])
        let test = try #require(dataset.test)
        #expect(try test.x.integers() == Array(Self.pixels[120...]))
        #expect(dataset.classes == 3)
    }

    @Test func zip64Archives() throws {
        let dataset = try Dataset(path: fixture("zip64.npz"), options: DatasetOptions(testFraction: 0))
        #expect(try dataset.train.x.integers() == Self.pixels)
        #expect(dataset.train.x.shape == [9, 20])
        #expect(dataset.test == nil)
    }

    @Test func everyNumpyType() throws {
        let archive = try NPZ(try Files.read(fixture("types.npz"), maximumBytes: 1 << 20))
        #expect(archive.names.count == 9)
        for (name, dtype) in [
            ("u1", DType.u8), ("i1", .i8), ("i2", .i16), ("i4", .i32), ("i8", .i64), ("f2", .f16), ("f4", .f32),
            ("f8", .f64),
        ] {
            let tensor = try #require(try archive.tensor(name))
            #expect(tensor.dtype == dtype && tensor.shape == [2, 3], "\(name)")
            let values = dtype.isFloatingPoint ? try tensor.floats().map { Int($0) } : try tensor.integers()
            #expect(values == [0, 1, 2, 3, 4, 5], "\(name)")
        }
        #expect(try #require(try archive.tensor("b1")).integers() == [0, 1, 1, 1, 1, 1])
        #expect(try archive.tensor("missing") == nil)
    }

    @Test(arguments: [
        ("complex.npz", DeMLError.Code.dtype, "'<c8'"), ("records.npz", .dtype, "records"),
    ])
    func refusesArchives(name: String, code: DeMLError.Code, words: String) throws {
        let error = failure { _ = try Dataset(path: fixture(name)) }
        #expect(error?.code == code && error?.message.contains(words) == true, "\(error?.summary ?? "no error")")
        #expect(error?.place?.hasPrefix(fixture(name)) == true)
        #expect(error?.hint != nil || name == "records.npz")
    }

    @Test func otherOrdersAndNames() throws {
        let whole = try Dataset(path: fixture("zip64.npz"), options: DatasetOptions(testFraction: 0))
        for name in ["fortran.npz", "big_endian.npz"] {
            let dataset = try Dataset(path: fixture(name), options: DatasetOptions(testFraction: 0))
            #expect(dataset.train.x.shape == [9, 20] && dataset.train.y == whole.train.y, "\(name)")
            let values =
                try dataset.train.x.dtype == .u8
                ? dataset.train.x.integers() : dataset.train.x.floats().map { Int($0) }
            #expect(values == Self.pixels, "\(name)")
        }
        let named = try Dataset(path: fixture("other_names.npz"), options: DatasetOptions(testFraction: 0))
        #expect(named.train.x.shape == [9, 1, 4, 5])
    }

    @Test func everyTruncationAndDamageOfAnArchiveIsRefused() throws {
        let bytes = try Files.read(fixture("zip64.npz"), maximumBytes: 1 << 20)
        func tensors(_ bytes: [UInt8]) throws -> [Tensor?] {
            let archive = try NPZ(bytes, maximumBytes: 1 << 20)
            return [try archive.tensor("x"), try archive.tensor("y")]
        }
        let whole = try tensors(bytes)
        for count in 0..<bytes.count {
            #expect(failure { _ = try tensors(Array(bytes[..<count])) } != nil, "\(count) bytes")
        }
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 0x41
            // A changed date or version is no damage; whatever is read must be what was there.
            if let read = try? tensors(damaged), read.allSatisfy({ $0 != nil }) {
                #expect(read == whole, "byte \(index) was changed and other values were read")
            }
        }
    }

    @Test func aMemberUnderTwoNamesIsRefused() throws {
        // Both entries of the directory are made to refer to the first member, which has the name of one.
        var bytes = try Files.read(fixture("stored.npz"), maximumBytes: 1 << 20)
        let entries = bytes.indices.dropLast(46).filter { Array(bytes[$0..<$0 + 4]) == [0x50, 0x4b, 1, 2] }
        #expect(entries.count == 4)
        for offset in 16..<28 { bytes[entries[1] + offset] = bytes[entries[0] + offset] }
        for offset in 42..<46 { bytes[entries[1] + offset] = bytes[entries[0] + offset] }
        let error = failure { _ = try NPZ(bytes) }
        #expect(
            error?.message == "the member's header and the directory of the zip file differ",
            "\(error?.summary ?? "no error")")
    }

    @Test func overlappingMembersAreRefused() throws {
        // As a small zip file becomes a large bomb: the whole second member lies in the first one's content.
        func number(_ value: Int, _ bytes: Int) -> [UInt8] { (0..<bytes).map { UInt8(value >> (8 * $0) & 0xff) } }
        func header(_ name: String, _ content: [UInt8]) -> [UInt8] {
            number(0x0403_4b50, 4) + number(20, 2) + number(0, 8) + number(Int(crc32(content[...])), 4)
                + number(content.count, 4) + number(content.count, 4) + number(name.utf8.count, 2) + number(0, 2)
                + Array(name.utf8)
        }
        func entry(_ name: String, _ content: [UInt8], at offset: Int) -> [UInt8] {
            number(0x0201_4b50, 4) + number(20, 2) + number(20, 2) + number(0, 8)
                + number(Int(crc32(content[...])), 4) + number(content.count, 4) + number(content.count, 4)
                + number(name.utf8.count, 2) + number(0, 12) + number(offset, 4) + Array(name.utf8)
        }
        let inner = [UInt8](repeating: 7, count: 40)
        let outer = header("b.npy", inner) + inner
        let first = header("a.npy", outer)
        let directory = entry("a.npy", outer, at: 0) + entry("b.npy", inner, at: first.count)
        let bytes =
            first + outer + directory + number(0x0605_4b50, 4) + number(0, 4) + number(2, 2) + number(2, 2)
            + number(directory.count, 4) + number(first.count + outer.count, 4) + number(0, 2)
        let error = failure { _ = try NPZ(bytes) }
        #expect(error?.message == "members of the zip file overlap", "\(error?.summary ?? "no error")")
    }

    // MARK: - safetensors

    @Test func foldersOfShardsArePutTogether() throws {
        try withScratch { folder in
            let x = Tensor(shape: [5, 2], floats: (0..<10).map(Float.init))
            let y = Tensor(shape: [5], int32s: [0, 1, 2, 3, 4])
            for (name, rows) in [("b.safetensors.gz", 2..<4), ("a.safetensors", 0..<2), ("test.safetensors", 4..<5)] {
                try Safetensors(tensors: [("x", x.rows(rows)), ("y", y.rows(rows))]).write(to: "\(folder)/\(name)")
            }
            let dataset = try Dataset(path: folder)
            #expect(dataset.train.x == x.rows(0..<4) && dataset.train.y == y.rows(0..<4))
            #expect(dataset.test?.x == x.rows(4..<5) && dataset.classes == 5)
            let single = try Dataset(path: "\(folder)/b.safetensors.gz", options: DatasetOptions(testFraction: 0))
            #expect(single.train.x == x.rows(2..<4))

            try Safetensors(tensors: [("x", Tensor(shape: [1, 3], floats: [1, 2, 3])), ("y", y.rows(0..<1))])
                .write(to: "\(folder)/c.safetensors")
            #expect(failure { _ = try Dataset(path: folder) }?.code == .mismatch)
        }
    }

    @Test func datasetsAreChecked() throws {
        func error(_ x: Tensor, _ y: Tensor) -> DeMLError? {
            failure { _ = try Dataset(name: "d", train: Dataset.Part(x: x, y: y)) }
        }
        let x = Tensor(shape: [2, 1], floats: [1, 2])
        #expect(error(x, Tensor(shape: [2], bytes: [0, 1])) == nil)
        #expect(error(x, Tensor(shape: [3], bytes: [0, 1, 2]))?.code == .mismatch)
        #expect(error(x, Tensor(shape: [2], int64s: [0, -1]))?.code == .outOfRange)
        #expect(error(x, Tensor(shape: [2], int64s: [0, 1 << 40]))?.code == .outOfRange)
        #expect(error(x, Tensor(shape: [2, 1], floats: [0, .nan]))?.code == .notFinite)
        #expect(error(x, Tensor(shape: [2, 2], bytes: [0, 1, 0, 1]))?.code == .dtype)
        #expect(
            error(Tensor(shape: [2, 1], floats: [1, .infinity]), Tensor(shape: [2], bytes: [0, 1]))?.code == .notFinite)
        #expect(error(Tensor(shape: [0, 1], floats: []), Tensor(shape: [0], bytes: []))?.code == .shape)
        #expect(error(Tensor(shape: [2, 1], int64s: [1, 2]), Tensor(shape: [2], bytes: [0, 1]))?.code == .dtype)
    }

    @Test func examplesTakeTheShapeOfTheModel() throws {
        let y = Tensor(shape: [2], bytes: [0, 1])
        func fitted(_ shape: [Int], _ input: [Int]) throws -> Tensor {
            let count = shape.reduce(1, *)
            let x = Tensor(shape: [2] + shape, bytes: (0..<2 * count).map { UInt8($0) })
            let dataset = try Dataset(name: "d", train: Dataset.Part(x: x, y: y), test: Dataset.Part(x: x, y: y))
            let result = try dataset.fitted(to: input)
            #expect(result.test?.x == result.train.x)
            return result.train.x
        }
        #expect(try fitted([4, 3], [1, 4, 3]).shape == [2, 1, 4, 3])
        #expect(try fitted([1, 4, 3], [4, 3]).shape == [2, 4, 3])
        #expect(try fitted([12], [3, 2, 2]).shape == [2, 3, 2, 2])
        #expect(try fitted([2, 2, 3], [3, 2, 2]).rows(0..<1).integers() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11])
        let error = failure { _ = try fitted([4, 3], [3, 4]) }
        #expect(
            error?.code == .shape && error?.message == "an example has the shape [4, 3], but the model takes [3, 4]")
    }

    @Test func theSplitIsFixed() throws {
        let x = Tensor(shape: [10, 1], floats: (0..<10).map(Float.init))
        try withScratch { folder in
            let path = "\(folder)/data.safetensors"
            try Safetensors(tensors: [("x", x), ("y", Tensor(shape: [10], bytes: Array(0..<10)))]).write(to: path)
            let dataset = try Dataset(path: path)
            let test = try #require(dataset.test)
            #expect(dataset.train.count == 8 && test.count == 2)
            let both = try dataset.train.y.integers() + test.y.integers()
            #expect(both.sorted() == Array(0..<10))
            #expect(try Dataset(path: path).test == dataset.test, "the split differs from reading to reading")
            #expect(try dataset.train.y.integers() == dataset.train.y.integers().sorted(), "the order is not kept")
            let other = try Dataset(path: path, options: DatasetOptions(testFraction: 0.5, splitSeed: 1))
            #expect(other.test?.count == 5)
            #expect(failure { _ = try Dataset(path: path, options: DatasetOptions(testFraction: 1)) }?.code == .usage)
        }
    }

    @Test func whatIsNoDatasetIsRefused() throws {
        #expect(failure { _ = try Dataset(path: "/nowhere/at all") }?.code == .notFound)
        try withScratch { folder in
            #expect(failure { _ = try Dataset(path: folder) }?.code == .missing)
            try Files.writeAtomically([], to: "\(folder)/empty")
            #expect(failure { _ = try Dataset(path: "\(folder)/empty") }?.code == .truncated)
            try Files.writeAtomically(idx(type: 8, shape: [1], data: [1]), to: "\(folder)/one")
            #expect(failure { _ = try Dataset(path: "\(folder)/one") }?.code == .missing)
            try Files.writeAtomically([0xff, 0xfe, 0x00, 0x12], to: "\(folder)/noise")
            #expect(failure { _ = try Dataset(path: "\(folder)/noise") }?.code == .truncated)
        }
    }
}
