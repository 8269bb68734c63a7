import Tensors

/// What a path holds, before it is decided what it means.
struct DatasetSource {
    enum Part {
        /// One file, or several with the same columns.
        case table([TableFile], place: String)
        /// Features and labels in files of their own.
        case tables(x: TextSource, y: TextSource, place: String)
        case arrays(x: SourceArray, y: SourceArray?)
        /// Training and test set.
        case text(TextFiles)
    }

    var train: Part?
    var test: Part?
    /// Of files that DeML wrote.
    var schema: Schema?
    var decisions: [Decision] = []
    /// The file of each training example, where a folder of files is a dataset, and the files' names.
    var files: (ids: [Int], names: [String])?

    static func read(_ path: String, _ options: DatasetOptions) throws(DeMLError) -> DatasetSource {
        if try isText(path, options) {
            return DatasetSource(train: .text(try TextFiles(path: path, maximumBytes: options.maximumBytes)))
        }
        return Files.isDirectory(path) ? try folder(path, options) : try file(path, options)
    }

    /// Whether a path is to be read as text: because a person or a model says so, or by what it is.
    private static func isText(_ path: String, _ options: DatasetOptions) throws(DeMLError) -> Bool {
        if Files.isDirectory(path) {
            return options.text != nil ? TextFiles.isFolderOfTexts(path) : TextFiles.isText(path)
        }
        let start = try Files.prefix(of: path, count: 16)
        let isOfTokens = options.schema?.tokens != nil
        guard isTable(start) || Gzip.isGzip(start) && path.hasSuffix(".txt.gz") else { return false }
        return options.text != nil || isOfTokens || TextFiles.isText(path)
    }

    // MARK: Folders

    private static func folder(_ folder: String, _ options: DatasetOptions) throws(DeMLError) -> DatasetSource {
        let names = try Files.names(in: folder)
        func path(_ name: String) -> String { Files.path(folder, name) }
        let tables = preferred(names.filter { hasEnding($0, "csv") || hasEnding($0, "tsv") })
        let containers = preferred(names.filter { hasEnding($0, "safetensors") })
        let archives = names.filter { $0.hasSuffix(".npz") }
        let arrays = names.filter { $0.hasSuffix(".npy") }
        if names.contains(where: IDXFolder.isPart) { return try idx(folder, names, options) }
        if !tables.isEmpty { return try csv(in: folder, tables, options) }
        if !containers.isEmpty { return try shards(in: folder, containers, options) }
        if !arrays.isEmpty {
            let stems = arrays.map { String($0.dropLast(4)) }
            return try named(stems, "arrays", options) { (name) throws(DeMLError) in
                try attempt(path(name + ".npy")) { (path) throws(DeMLError) in
                    try NPY.array(try Files.read(path, maximumBytes: options.maximumBytes)[...])
                }
            }
        }
        if archives.count == 1 { return try file(path(archives[0]), options) }
        // torchvision keeps its files in MNIST/raw.
        for inner in ["raw", "MNIST/raw", "MNIST", "FashionMNIST/raw"] where Files.isDirectory(path(inner)) {
            return try self.folder(path(inner), options)
        }
        if let pictures = try PictureFolder(folder) { return try pictures.source(options) }
        throw DeMLError(
            .missing, "the folder holds no dataset that is known",
            hint:
                "known are the IDX files of MNIST, CSV, safetensors, npz and npy files, folders of pictures and .txt files"
                + (names.isEmpty ? "; the folder is empty" : "; it holds \(Naming.list(names, limit: 10))"))
    }

    /// Of a file and the same file compressed only the first.
    private static func preferred(_ names: [String]) -> [String] {
        names.filter { !($0.hasSuffix(".gz") && names.contains(String($0.dropLast(3)))) }
    }

    private static func idx(
        _ folder: String, _ names: [String], _ options: DatasetOptions
    ) throws(DeMLError) -> DatasetSource {
        let files = try IDXFolder(names: names)
        var source = DatasetSource()
        let train = try files.train.read(in: folder, maximumBytes: options.maximumBytes)
        source.train = .arrays(x: .numbers(train.x), y: .numbers(train.y))
        if let test = try files.test?.read(in: folder, maximumBytes: options.maximumBytes) {
            source.test = .arrays(x: .numbers(test.x), y: .numbers(test.y))
        }
        if !files.skipped.isEmpty {
            source.decisions.append(
                Decision("not used", "\(Naming.list(files.skipped)): the same file is there uncompressed"))
        }
        return source
    }

    private static func csv(
        in folder: String, _ names: [String], _ options: DatasetOptions
    ) throws(DeMLError) -> DatasetSource {
        func text(_ name: String) throws(DeMLError) -> TextSource {
            try attempt(Files.path(folder, name)) { (path) throws(DeMLError) in
                try TextSource(path: path, maximumBytes: options.maximumBytes)
            }
        }
        func stem(_ name: String) -> String { String(name.prefix { $0 != "." }).lowercased() }
        func named(_ candidates: [String]) -> String? { names.first { candidates.contains(stem($0)) } }
        var source = DatasetSource()
        func pair(_ x: [String], _ y: [String]) throws(DeMLError) -> Part? {
            guard let xName = named(x) else { return nil }
            guard let yName = named(y) else {
                throw DeMLError(
                    .missing, "there is \(xName) but no file of labels", hint: "it would be called \(y[0]).csv")
            }
            return .tables(x: try text(xName), y: try text(yName), place: Files.path(folder, xName))
        }
        source.train = try pair(["x_train", "train_x"], ["y_train", "train_y"])
        if source.train == nil { source.train = try pair(["x", "data"], ["y", "labels", "target"]) }
        if source.train != nil {
            source.test = try pair(["x_test", "test_x"], ["y_test", "test_y"])
            return source
        }
        let usable = names.filter { stem($0) != "sample_submission" && stem($0) != "gender_submission" }
        let test =
            usable.first { stem($0) == "test" }
            ?? usable.first { stem($0).contains("test") && !stem($0).contains("train") }
        // The one that is called train, else all that are called so, else all.
        let others = usable.filter { $0 != test }
        let called = others.filter { stem($0).contains("train") }
        let train = others.first { stem($0) == "train" }.map { [$0] } ?? (called.isEmpty ? others : called)
        guard !train.isEmpty else {
            throw DeMLError(
                .missing, "the folder has no CSV file to learn from",
                hint: "give the path of one file; it has \(Naming.list(usable, limit: 10))")
        }
        var files: [TableFile] = []
        for name in train {
            files.append(TableFile(path: train.count == 1 ? "" : Files.path(folder, name), text: try text(name)))
        }
        source.train = .table(files, place: train.count == 1 ? Files.path(folder, train[0]) : folder)
        if let test {
            source.test = .table([TableFile(path: "", text: try text(test))], place: Files.path(folder, test))
        }
        let unused = names.filter { $0 != test && !train.contains($0) }
        if !unused.isEmpty { source.decisions.append(Decision("not used", Naming.list(unused, limit: 8))) }
        return source
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
        var schema: Schema?
        var isFirst = true
        func source(_ name: String) throws(DeMLError) -> DatasetSource {
            try attempt(Files.path(folder, name)) { (path) throws(DeMLError) in
                let file = try Safetensors(contentsOf: path, maximumBytes: options.maximumBytes)
                let source = try DatasetSource(safetensors: file, options)
                guard isFirst || source.schema == schema else {
                    throw DeMLError(.mismatch, "its schema is not that of the other files of the folder")
                }
                (schema, isFirst) = (source.schema, false)
                return source
            }
        }
        var sources: [DatasetSource] = []
        for name in trainNames { sources.append(try source(name)) }
        var result = sources[0]
        if sources.count > 1 {
            var parts: [Dataset.Part] = []
            var ids: [Int] = []
            for (index, source) in sources.enumerated() {
                guard case .arrays(.numbers(let x), .numbers(let y)?)? = source.train else {
                    throw DeMLError(.missing, "there is no y", place: Files.path(folder, trainNames[index]))
                }
                parts.append(Dataset.Part(x: x, y: y))
                ids += repeatElement(index, count: x.shape.first ?? 0)
            }
            let joined = try concatenated(parts)
            result.train = .arrays(x: .numbers(joined.x), y: .numbers(joined.y))
            result.files = (ids, trainNames)
            result.test = nil
        }
        if let name = testNames.first { result.test = try source(name).train }
        return result
    }

    private static func concatenated(_ parts: [Dataset.Part]) throws(DeMLError) -> Dataset.Part {
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

    // MARK: Files

    private static func file(_ path: String, _ options: DatasetOptions) throws(DeMLError) -> DatasetSource {
        try attempt(path) { (_) throws(DeMLError) in
            // A table is not read whole.
            if isTable(try Files.prefix(of: path, count: 16)) {
                var source = DatasetSource()
                let text = try TextSource(path: path, maximumBytes: options.maximumBytes)
                source.train = .table([TableFile(path: "", text: text)], place: path)
                return source
            }
            return try DatasetSource(
                storedBytes: try Files.read(path, maximumBytes: options.maximumBytes), options: options)
        }
    }

    private static func isTable(_ start: [UInt8]) -> Bool {
        !start.isEmpty && !start.starts(with: [0x50, 0x4b]) && !Gzip.isGzip(start) && !start.starts(with: [0, 0])
            && !NPY.isNPY(start) && !PictureFile.isPicture(start)
            && !(start.count > 8 && start[8] == UInt8(ascii: "{") && start[7] == 0)
    }

    private init(train: Part? = nil) { self.train = train }

    static var empty: DatasetSource { DatasetSource() }

    /// A file's bytes as stored, recognised by content.
    init(storedBytes: [UInt8], options: DatasetOptions) throws(DeMLError) {
        var bytes = storedBytes
        guard !bytes.isEmpty else { throw DeMLError(.truncated, "the file is empty") }
        if bytes.starts(with: [0x50, 0x4b]) {
            try self.init(npz: bytes, options)
            return
        }
        if Gzip.isGzip(bytes) {
            if try Gzip.prefix(bytes, count: 9).last == UInt8(ascii: "{") {
                try self.init(
                    safetensors: try Safetensors(storedBytes: bytes, maximumBytes: options.maximumBytes), options)
                return
            }
            bytes = try Gzip.decompress(bytes, maximumBytes: options.maximumBytes)
        }
        if bytes.count > 8, bytes[8] == UInt8(ascii: "{"), bytes[7] == 0 {
            try self.init(safetensors: try Safetensors(decoding: bytes), options)
        } else if bytes.starts(with: [0, 0]) {
            self.init(
                train: .arrays(
                    x: .numbers(try IDX.tensor(storedBytes: bytes, maximumBytes: options.maximumBytes)), y: nil))
        } else if PictureFile.isPicture(bytes) {
            let picture = try PictureFile(bytes)
            let wanted =
                options.schema?.inputShape ?? options.inputShape ?? [picture.channels, picture.height, picture.width]
            let shape = wanted.count == 2 ? [1] + wanted : wanted
            guard shape.count == 3, shape[0] == 1 || shape[0] == 3 else {
                throw DeMLError(.shape, "the model takes \(wanted) and no pictures")
            }
            self.init(
                train: .arrays(x: .numbers(Tensor(shape: [1] + shape, bytes: picture.scaled(to: shape))), y: nil))
        } else if NPY.isNPY(bytes) {
            self.init(train: .arrays(x: try NPY.array(bytes[...]), y: nil))
        } else if options.text != nil || options.schema?.tokens != nil {
            self.init(train: .text(TextFiles(bytes: bytes)))
        } else {
            self.init(train: .table([TableFile(path: "", text: TextSource(bytes: bytes))], place: ""))
        }
    }

    init(safetensors file: Safetensors, _ options: DatasetOptions) throws(DeMLError) {
        self = try Self.named(file.tensors.map(\.name), "tensors", options) { (name) throws(DeMLError) in
            file[name].map(SourceArray.numbers)
        }
        schema = try Schema(metadata: file.metadata)
    }

    init(npz bytes: [UInt8], _ options: DatasetOptions) throws(DeMLError) {
        let archive = try NPZ(bytes, maximumBytes: options.maximumBytes)
        self = try Self.named(archive.names, "arrays", options) { (name) throws(DeMLError) in try archive.array(name) }
    }

    // MARK: Named arrays

    /// Names that people give to examples, and to the labels that go with them.
    private static let trainNames: (x: [String], y: [String]) = (
        [
            "x_train", "X_train", "train_x", "train_X", "xtrain", "train_images", "training_images", "train_data",
            "train_features",
        ],
        [
            "y_train", "Y_train", "train_y", "train_Y", "ytrain", "train_labels", "training_labels", "train_targets",
            "train_target",
        ]
    )
    private static let testNames: (x: [String], y: [String]) = (
        ["x_test", "X_test", "test_x", "test_X", "xtest", "test_images", "test_data", "test_features"],
        ["y_test", "Y_test", "test_y", "test_Y", "ytest", "test_labels", "test_targets", "test_target"]
    )
    private static let wholeNames: (x: [String], y: [String]) = (
        ["x", "X", "data", "images", "features", "inputs"],
        ["y", "Y", "labels", "label", "targets", "target", "classes"]
    )

    /// x and y out of named arrays: those of Keras, scikit-learn, MedMNIST and the like, or those of a shard.
    private static func named(
        _ names: [String], _ what: String, _ options: DatasetOptions,
        _ array: (String) throws(DeMLError) -> SourceArray?
    ) throws(DeMLError) -> DatasetSource {
        func part(_ candidates: (x: [String], y: [String])) throws(DeMLError) -> Part? {
            guard let xName = candidates.x.first(where: names.contains), let x = try array(xName) else { return nil }
            guard let yName = candidates.y.first(where: names.contains) else { return .arrays(x: x, y: nil) }
            return .arrays(x: x, y: try array(yName))
        }
        var source = DatasetSource()
        source.train = try part(trainNames)
        source.test = try part(testNames)
        if source.train == nil, source.test == nil { source.train = try part(wholeNames) }
        if source.train == nil, source.test == nil {
            if Set(names) == ["arr_0", "arr_1"] {
                source.train = .arrays(x: try array("arr_0") ?? .texts([], shape: []), y: try array("arr_1"))
                source.decisions.append(Decision("arrays", "arr_0 is taken for the examples, arr_1 for the labels"))
            } else if names.count == 1, let x = try array(names[0]) {
                source.train = .arrays(x: x, y: nil)
            } else {
                throw DeMLError(
                    .missing, "there are no \(what) x and y, nor x_train and y_train",
                    hint: names.isEmpty
                        ? "the file holds none" : "the file holds \(Naming.list(names, nearest: "x_train"))")
            }
        }
        return source
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
