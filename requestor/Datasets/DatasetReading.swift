import Tensors

/// How a dataset is read.
public struct DatasetOptions: Sendable, Equatable {
    /// What the labels of a CSV file or a floating-point y are.
    public enum Labels: String, Sendable, Codable, CaseIterable {
        /// Classes where all labels are integers >= 0 or names, else numbers to predict.
        case automatic
        case classes
        case numbers
    }

    /// The part of the examples that becomes the test set where the source has none: 0 for no test set.
    ///
    /// The split is that of a permutation drawn with ``splitSeed``; both parts keep the order of the source.
    public var testFraction: Double
    public var splitSeed: UInt64
    /// The name of the label column of a CSV file. Without it: the column `label` if the file has one, else the first.
    public var labelColumn: String?
    public var labels: Labels
    /// Limit of each file, stored and expanded.
    public var maximumBytes: Int

    public init(
        testFraction: Double = 0.2, splitSeed: UInt64 = 0, labelColumn: String? = nil, labels: Labels = .automatic,
        maximumBytes: Int = 4 << 30
    ) {
        self.testFraction = testFraction
        self.splitSeed = splitSeed
        self.labelColumn = labelColumn
        self.labels = labels
        self.maximumBytes = maximumBytes
    }
}

extension Dataset {
    /// Reads a dataset; what it is is recognised by content, not by name:
    ///
    /// * a folder with the four IDX files of MNIST, Fashion-MNIST or EMNIST, `.gz` or not;
    /// * a folder with `train.csv` and `test.csv`, or with safetensors files (`test*` is the test set, the others are
    ///   put together in the order of their names, so that a folder of shards is a dataset);
    /// * a file: `.npz` with `x_train`, `y_train`, `x_test`, `y_test` (Keras) or `x`, `y`; safetensors with the same
    ///   names; CSV. Each may be gzip-compressed, except `.npz`.
    ///
    /// Where there is no test set a part of the examples becomes one, see ``DatasetOptions/testFraction``.
    /// Errors have the path as place.
    public init(path: String, options: DatasetOptions = DatasetOptions()) throws(DeMLError) {
        do throws(DeMLError) {
            try self.init(try DatasetSource.read(path, options), Files.name(of: path), options)
        } catch {
            throw error.place?.hasPrefix(path) == true ? error : error.within(path)
        }
    }

    /// Reads the bytes of one file as stored, recognised by content.
    public init(
        storedBytes bytes: [UInt8], name: String, options: DatasetOptions = DatasetOptions()
    ) throws(DeMLError) {
        try self.init(try DatasetSource(storedBytes: bytes, options: options), name, options)
    }

    private init(_ source: DatasetSource, _ name: String, _ options: DatasetOptions) throws(DeMLError) {
        try self.init(name: name, train: source.train, test: source.test, classNames: source.classNames)
        if test == nil { try splitTest(fraction: options.testFraction, seed: options.splitSeed) }
    }

    /// Makes a part of the training set the test set.
    private mutating func splitTest(fraction: Double, seed: UInt64) throws(DeMLError) {
        guard fraction > 0 else { return }
        guard fraction < 1, train.count >= 2 else {
            throw DeMLError(
                .usage, "\(fraction) of \(train.count) examples cannot be set apart for a test",
                hint: "give a dataset with a test set, or a fraction between 0 and 1")
        }
        let testCount = min(max(1, Int((Double(train.count) * fraction).rounded())), train.count - 1)
        var generator = SeededGenerator(seed: seed, purpose: "test-split")
        let order = generator.permutation(train.count)
        let whole = train
        test = whole.gathered(order[..<testCount].sorted())
        train = whole.gathered(order[testCount...].sorted())
    }
}

/// What a path holds, before it is checked as a dataset.
struct DatasetSource {
    var train: Dataset.Part
    var test: Dataset.Part?
    var classNames: [String]?

    private init(train: Dataset.Part, test: Dataset.Part?) {
        self.train = train
        self.test = test
    }

    static func read(_ path: String, _ options: DatasetOptions) throws(DeMLError) -> DatasetSource {
        Files.isDirectory(path) ? try folder(path, options) : try file(path, options)
    }

    private static func folder(_ folder: String, _ options: DatasetOptions) throws(DeMLError) -> DatasetSource {
        let names = try Files.names(in: folder)
        func path(_ name: String) -> String { Files.path(folder, name) }
        let tables = names.filter { hasEnding($0, "csv") }
        let containers = names.filter { hasEnding($0, "safetensors") }
        let archives = names.filter { $0.hasSuffix(".npz") }
        if names.contains(where: IDXFolder.isPart) {
            let files = try IDXFolder(names: names)
            let train = try files.train.read(in: folder, maximumBytes: options.maximumBytes)
            let test = try files.test?.read(in: folder, maximumBytes: options.maximumBytes)
            return DatasetSource(train: train, test: test)
        }
        if !tables.isEmpty {
            guard let trainName = tables.first(where: { $0.contains("train") }) ?? (tables.count == 1 ? tables[0] : nil)
            else {
                throw DeMLError(
                    .missing, "the folder has \(tables.count) CSV files, but none is called train.csv",
                    hint: "give the path of one file")
            }
            let testName = tables.first { $0.contains("test") && $0 != trainName }
            return try DatasetSource(csv: path(trainName), test: testName.map(path), options: options)
        }
        if !containers.isEmpty {
            return try shards(in: folder, containers, options)
        }
        guard archives.count == 1 else {
            throw DeMLError(
                .missing, "the folder holds no dataset that is known",
                hint: "known are the IDX files of MNIST, train.csv and test.csv, safetensors files, one .npz")
        }
        return try file(path(archives[0]), options)
    }

    private static func shards(
        in folder: String, _ names: [String], _ options: DatasetOptions
    ) throws(DeMLError) -> DatasetSource {
        let testNames = names.filter { $0.hasPrefix("test") }
        let trainNames = names.filter { !$0.hasPrefix("test") }
        guard !trainNames.isEmpty, testNames.count <= 1 else {
            throw DeMLError(
                .missing, "the folder has \(trainNames.count) training and \(testNames.count) test files",
                hint: "one file at most begins with test, the others are put together for training")
        }
        func source(_ name: String) throws(DeMLError) -> DatasetSource {
            try attempt(Files.path(folder, name)) { (path) throws(DeMLError) in
                try DatasetSource(safetensors: try Safetensors(contentsOf: path, maximumBytes: options.maximumBytes))
            }
        }
        var sources: [DatasetSource] = []
        for name in trainNames { sources.append(try source(name)) }
        var test = sources.count == 1 ? sources[0].test : nil
        if let name = testNames.first { test = try source(name).train }
        return DatasetSource(train: try concatenated(sources.map(\.train)), test: test)
    }

    private static func file(_ path: String, _ options: DatasetOptions) throws(DeMLError) -> DatasetSource {
        let bytes = try Files.read(path, maximumBytes: options.maximumBytes)
        return try attempt(path) { (_) throws(DeMLError) in
            try DatasetSource(storedBytes: bytes, options: options)
        }
    }

    /// A file's bytes as stored, recognised by content.
    init(storedBytes: [UInt8], options: DatasetOptions) throws(DeMLError) {
        var bytes = storedBytes
        guard !bytes.isEmpty else { throw DeMLError(.truncated, "the file is empty") }
        if bytes.starts(with: [0x50, 0x4b]) {
            try self.init(npz: bytes, options: options)
            return
        }
        if Gzip.isGzip(bytes) {
            if try Gzip.prefix(bytes, count: 9).last == UInt8(ascii: "{") {
                try self.init(safetensors: try Safetensors(storedBytes: bytes, maximumBytes: options.maximumBytes))
                return
            }
            bytes = try Gzip.decompress(bytes, maximumBytes: options.maximumBytes)
        }
        if bytes.count > 8, bytes[8] == UInt8(ascii: "{"), bytes[7] == 0 {
            try self.init(safetensors: try Safetensors(decoding: bytes))
        } else if bytes.starts(with: [0, 0]) {
            throw DeMLError(
                .usage, "this is an IDX file of one tensor, not a dataset",
                hint: "give the folder with the four files of images and labels")
        } else {
            try self.init(csv: bytes, test: nil, options: options)
        }
    }

    /// x and y out of named tensors: those of Keras' files, or those of a shard.
    init(tensors: [String: Tensor], options: DatasetOptions = DatasetOptions()) throws(DeMLError) {
        func part(_ xName: String, _ yName: String) throws(DeMLError) -> Dataset.Part? {
            guard let x = tensors[xName] else { return nil }
            guard let y = tensors[yName] else {
                throw DeMLError(.missing, "there is \(xName) but no \(yName)")
            }
            return Dataset.Part(
                x: try Self.attempt(xName) { (_) throws(DeMLError) in try Self.examples(x) },
                y: try Self.attempt(yName) { (_) throws(DeMLError) in try Self.labels(y, options.labels) })
        }
        var train = try part("x_train", "y_train")
        if train == nil { train = try part("x", "y") }
        guard let train else {
            let names = tensors.keys.sorted().prefix(10).map(\.quotedForMessage).joined(separator: ", ")
            throw DeMLError(
                .missing, "there are no tensors x and y, nor x_train and y_train",
                hint: names.isEmpty ? "the file holds no tensor" : "the file holds \(names)")
        }
        self.train = train
        test = try part("x_test", "y_test")
    }

    init(safetensors file: Safetensors) throws(DeMLError) {
        try self.init(tensors: Dictionary(file.tensors.map { ($0.name, $0.tensor) }) { first, _ in first })
    }

    init(npz bytes: [UInt8], options: DatasetOptions) throws(DeMLError) {
        let archive = try NPZ(bytes, maximumBytes: options.maximumBytes)
        var tensors: [String: Tensor] = [:]
        for name in ["x_train", "y_train", "x_test", "y_test", "x", "y"] {
            tensors[name] = try archive.tensor(name)
        }
        guard !tensors.isEmpty else {
            let names = archive.names.prefix(10).map(\.quotedForMessage).joined(separator: ", ")
            throw DeMLError(
                .missing, "there are no arrays x and y, nor x_train and y_train",
                hint: names.isEmpty ? "the file holds no array" : "the file holds \(names)")
        }
        try self.init(tensors: tensors, options: options)
    }

    private init(csv path: String, test testPath: String?, options: DatasetOptions) throws(DeMLError) {
        func content(_ path: String) throws(DeMLError) -> [UInt8] {
            let bytes = try Files.read(path, maximumBytes: options.maximumBytes)
            guard Gzip.isGzip(bytes) else { return bytes }
            return try Gzip.decompress(bytes, maximumBytes: options.maximumBytes)
        }
        var testBytes: [UInt8]?
        if let testPath { testBytes = try content(testPath) }
        try self.init(csv: try content(path), test: testBytes, options: options)
    }

    init(csv bytes: [UInt8], test testBytes: [UInt8]?, options: DatasetOptions) throws(DeMLError) {
        let trainTable = try CSVTable(bytes, labelColumn: options.labelColumn)
        var testTable: CSVTable?
        if let testBytes {
            do throws(DeMLError) {
                testTable = try CSVTable(testBytes, labelColumn: options.labelColumn)
            } catch {
                throw error.within("test set")
            }
        }
        let labels = try CSVLabels(trainTable.labels + (testTable?.labels ?? []), options.labels)
        let examples = CSVTable.examples(trainTable, testTable)
        classNames = labels.names
        train = Dataset.Part(x: examples.train, y: labels.tensor(0..<trainTable.labels.count))
        test = examples.test.map {
            Dataset.Part(x: $0, y: labels.tensor(trainTable.labels.count..<labels.count))
        }
    }

    /// Examples as U8 or F32, images `[N,H,W]` as `[N,1,H,W]`.
    static func examples(_ x: Tensor) throws(DeMLError) -> Tensor {
        var shape = x.shape
        guard !shape.isEmpty else { throw DeMLError(.shape, "a scalar cannot be the examples") }
        if shape.count == 1 { shape.append(1) }
        if shape.count == 3 { shape.insert(1, at: 1) }
        switch x.dtype {
        case .u8, .f32: return try x.reshaped(shape)
        case .bool: return try Tensor(dtype: .u8, shape: shape, bytes: x.bytes)
        case .f16, .bf16, .f64: return Tensor(shape: shape, floats: try x.floats())
        case .i8, .i16, .i32, .i64: return Tensor(shape: shape, floats: try x.integers().map(Float.init))
        }
    }

    /// Labels as U8, I32 or I64 `[N]`, or as F32 `[N, outputs]`.
    static func labels(_ y: Tensor, _ kind: DatasetOptions.Labels) throws(DeMLError) -> Tensor {
        guard let count = y.shape.first else { throw DeMLError(.shape, "a scalar cannot be the labels") }
        let isColumn = y.shape.count == 1 || y.shape.dropFirst().allSatisfy { $0 == 1 }
        if y.dtype.isFloatingPoint || kind == .numbers {
            let floats = y.dtype.isFloatingPoint ? try y.floats() : try y.integers().map(Float.init)
            if kind == .classes {
                guard isColumn, floats.allSatisfy({ $0 >= 0 && $0 < 65_536 && $0 == $0.rounded() }) else {
                    throw DeMLError(.dtype, "the labels are no class ids")
                }
                return Tensor(shape: [count], int64s: floats.map { Int64($0) })
            }
            return Tensor(shape: [count, count == 0 ? 0 : floats.count / count], floats: floats)
        }
        guard isColumn else {
            throw DeMLError(
                .shape, "integer labels of shape \(y.shape) are no class ids, one for each example",
                hint: "floating-point labels are numbers to predict")
        }
        switch y.dtype {
        case .u8, .i32, .i64: return try y.reshaped([count])
        default: return Tensor(shape: [count], int64s: try y.integers().map(Int64.init))
        }
    }

    private static func concatenated(_ parts: [Dataset.Part]) throws(DeMLError) -> Dataset.Part {
        guard parts.count > 1 else { return parts[0] }
        func joined(_ tensors: [Tensor]) throws(DeMLError) -> Tensor {
            let first = tensors[0]
            var bytes: [UInt8] = []
            bytes.reserveCapacity(tensors.reduce(0) { $0 + $1.bytes.count })
            for tensor in tensors {
                guard tensor.dtype == first.dtype, tensor.shape.dropFirst() == first.shape.dropFirst() else {
                    throw DeMLError(
                        .mismatch,
                        "\(tensor.dtype.rawValue) \(tensor.shape) in one file does not go together with"
                            + " \(first.dtype.rawValue) \(first.shape) in another")
                }
                bytes += tensor.bytes
            }
            let count = tensors.reduce(0) { $0 + ($1.shape.first ?? 0) }
            return try Tensor(dtype: first.dtype, shape: [count] + first.shape.dropFirst(), bytes: bytes[...])
        }
        return Dataset.Part(x: try joined(parts.map(\.x)), y: try joined(parts.map(\.y)))
    }

    private static func hasEnding(_ name: String, _ ending: String) -> Bool {
        name.hasSuffix(".\(ending)") || name.hasSuffix(".\(ending).gz")
    }

    /// Runs `body` and puts `place` before the place of its errors.
    static func attempt<Result>(
        _ place: String, _ body: (String) throws(DeMLError) -> Result
    ) throws(DeMLError) -> Result {
        do throws(DeMLError) {
            return try body(place)
        } catch {
            throw error.place?.hasPrefix(place) == true ? error : error.within(place)
        }
    }
}
