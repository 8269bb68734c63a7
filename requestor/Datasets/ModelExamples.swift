import Tensors

/// Examples of a file as a model sees them: by its schema, with labels or without, undivided unless the file has a test set
/// of its own, or is the very data that the model was made from.
public struct ModelExamples: Sendable {
    public struct Part: Sendable {
        public var x: Tensor
        /// Nil where the file has no labels.
        public var y: Tensor?
        /// Rows of the file, counted from 0.
        public var rows: [Int]

        fileprivate func gathered(_ chosen: [Int]) -> Part {
            Part(x: x.gatherRows(chosen), y: y?.gatherRows(chosen), rows: chosen.map { rows[$0] })
        }
    }

    /// Name of the file or folder.
    public var name: String
    /// What is not the test set: all examples where there is none.
    public var train: Part?
    public var test: Part?
    /// What was set apart of the training set of the model's own data.
    public var validation: Part?
    public var decisions: [Decision]
    /// The examples are those that the model was made from, divided as they were then.
    public var isOwn = false

    /// - Parameter options: with the schema to obey. Nothing is split off, whatever they say.
    public init(path: String, options: DatasetOptions) throws(DeMLError) {
        guard let schema = options.schema else {
            throw DeMLError(.internal, "examples for a model are read by its schema")
        }
        var options = options
        let isOfTokens = if case .tokens = schema.features { true } else { false }
        // A text is divided as it is read: what comes later in it is tested.
        options.testFraction = isOfTokens ? schema.source?.testFraction ?? 0 : 0
        if isOfTokens, let source = schema.source {
            options.text = TextOptions(stride: source.stride)
            options.groupColumn = source.isByRole ? "role" : nil
        }
        do throws(DeMLError) {
            let source = try DatasetSource.read(path, options)
            name = Files.name(of: path)
            var parts: DatasetParts?
            // Tokens in arrays are undivided, as other arrays are.
            if case .arrays? = source.train { options.testFraction = 0 }
            if case .text? = source.train, let known = schema.source {
                // Another text may be too short to be divided.
                parts = try? DatasetParts(source, options, needsLabels: false)
                let tensors = [parts?.train?.x, parts?.train?.y, parts?.test?.x, parts?.test?.y].compactMap(\.self)
                isOwn = Dataset.contentSHA256(tensors) == known.sha256
                if !isOwn, parts?.isSplit != false { parts = nil }
                if !isOwn { (options.testFraction, options.text, options.groupColumn) = (0, nil, nil) }
            }
            let found = if let parts { parts } else { try DatasetParts(source, options, needsLabels: false) }
            train = found.train.map { Part(x: $0.x, y: $0.y, rows: $0.rows) }
            test = found.test.map { Part(x: $0.x, y: $0.y, rows: $0.rows) }
            decisions = found.decisions
        } catch {
            throw error.place?.hasPrefix(path) == true ? error : error.within(path)
        }
        for part in [train, test].compactMap(\.self) {
            guard part.x.shape.count >= 2, part.x.shape[0] > 0, part.x.count > 0 else {
                throw DeMLError(.missing, "there are no examples", place: path)
            }
            if let y = part.y, y.shape.first != part.x.shape[0] {
                throw DeMLError(
                    .mismatch, "there are \(part.x.shape[0]) examples, but y has the shape \(y.shape)", place: path)
            }
        }
        if isOfTokens, isOwn, let source = schema.source, source.validationFraction > 0, let whole = train {
            let (rows, chosen) = try Dataset.validationRows(
                fraction: source.validationFraction, of: whole.x.shape[0])
            train = whole.gathered(rows)
            validation = whole.gathered(chosen)
        } else if !isOwn, let source = schema.source {
            try divide(as: source)
        }
    }

    /// Divides the examples as a model's were, if they are the same.
    private mutating func divide(as source: Schema.Source) throws(DeMLError) {
        guard let whole = train, whole.y != nil else { return }
        var divided = (train: whole, test: test)
        if source.testFraction > 0 {
            // A test set without labels was not used, and is none here.
            guard test?.y == nil, whole.x.shape[0] >= 2 else { return }
            let split = try RowSplit(whole.x.shape[0], fraction: source.testFraction, seed: source.seed)
            divided = (whole.gathered(split.trainRows), whole.gathered(split.testRows))
        }
        let tensors = [divided.train.x, divided.train.y, divided.test?.x, divided.test?.y].compactMap(\.self)
        guard Dataset.contentSHA256(tensors) == source.sha256 else { return }
        (train, test) = divided
        isOwn = true
        if source.validationFraction > 0 {
            let (rows, validation) = try Dataset.validationRows(
                fraction: source.validationFraction, of: divided.train.x.shape[0])
            train = divided.train.gathered(rows)
            self.validation = divided.train.gathered(validation)
        }
    }

    /// Sets a part of the examples apart as a test set, where there is none.
    public mutating func divide(fraction: Double, seed: UInt64 = 0) throws(DeMLError) {
        guard test == nil, let whole = train else { return }
        let split = try RowSplit(whole.x.shape[0], fraction: fraction, seed: seed)
        train = whole.gathered(split.trainRows)
        test = split.testRows.isEmpty ? nil : whole.gathered(split.testRows)
    }

    /// All examples in the order of the file; where it has a test set of its own, the training set first.
    public func all() throws(DeMLError) -> Part {
        var copy = self
        if let validation, let train {
            copy.train = try Self.joined(train, validation, name)
            copy.validation = nil
            return try copy.all()
        }
        guard let train else { return test ?? Part(x: Tensor(shape: [0, 1], floats: []), y: nil, rows: []) }
        guard let test else { return train }
        let whole = try Self.joined(train, test, name)
        // One file that was divided is put together again.
        guard Set(whole.rows).count == whole.rows.count else { return whole }
        return whole.gathered(whole.rows.indices.sorted { whole.rows[$0] < whole.rows[$1] })
    }

    private static func joined(_ train: Part, _ test: Part, _ name: String) throws(DeMLError) -> Part {
        func joined(_ first: Tensor, _ second: Tensor) throws(DeMLError) -> Tensor {
            guard first.dtype == second.dtype, first.shape.dropFirst() == second.shape.dropFirst() else {
                throw DeMLError(.mismatch, "training and test set have other types or shapes", place: name)
            }
            return try Tensor(
                dtype: first.dtype, shape: [first.shape[0] + second.shape[0]] + first.shape.dropFirst(),
                bytes: (Array(first.bytes) + Array(second.bytes))[...])
        }
        var y: Tensor?
        if let one = train.y, let other = test.y { y = try joined(one, other) }
        return Part(x: try joined(train.x, test.x), y: y, rows: train.rows + test.rows)
    }
}
