import Tensors

/// A type that examples are stored in.
protocol ExampleNumber: BitwiseCopyable {
    init(example value: Float)
}

extension Float: ExampleNumber {
    @inline(__always) init(example value: Float) { self = value }
}

extension UInt8: ExampleNumber {
    @inline(__always) init(example value: Float) { self = UInt8(value) }
}

extension TableContent {
    // MARK: What a feature is

    /// The features of this table, as a model of it will know them. Numbers are standardised by the training rows.
    func features(standardizes: Bool, _ split: RowSplit) -> (columns: [TableColumn], schema: [Schema.Feature]) {
        var columns: [TableColumn] = []
        var found: [Schema.Feature] = []
        let numbers = features.indices.filter { !features[$0].isEmpty && features[$0].kind != .words }
        let spreads = standardizes ? Spread.all(numbers.map { features[$0] }, split) : []
        let spreadOf = Dictionary(uniqueKeysWithValues: zip(numbers, spreads))
        for (index, column) in features.enumerated() where !column.isEmpty {
            let kind: Schema.Feature.Kind
            if column.kind == .words {
                let texts = column.wordTexts().compactMap(\.self)
                kind = .category(texts.sorted(by: Self.isBefore))
            } else {
                let spread = spreadOf[index]
                kind = .number(mean: spread?.mean ?? 0, deviation: spread?.deviation ?? 1)
            }
            columns.append(column)
            found.append(Schema.Feature(name: column.name, kind: kind, hasMissing: column.missing > 0))
        }
        return (columns, found)
    }

    /// Numbers by their value, before words.
    static func isBefore(_ first: String, _ second: String) -> Bool {
        switch (NumberText.number(first), NumberText.number(second)) {
        case (let one?, let other?) where one != other: one < other
        case (_?, nil): true
        case (nil, _?): false
        default: first.utf8.lexicographicallyPrecedes(second.utf8)
        }
    }

    // MARK: Examples

    /// The rows as examples `[N, inputs]` of the training and the test set. The columns are empty afterwards.
    ///
    /// - Parameters:
    ///   - columns: in the order of `schema`.
    ///   - asBytes: as U8; all numbers must be raw and ``TableColumn/areBytes``.
    func examples(
        _ columns: [TableColumn], _ schema: [Schema.Feature], _ split: RowSplit, asBytes: Bool, maximumBytes: Int
    ) throws(DeMLError) -> (train: Tensor, test: Tensor?) {
        let width = schema.reduce(0) { $0 + $1.width }
        let (count, overflow) = rows.multipliedReportingOverflow(by: width)
        guard !overflow, count <= maximumBytes / 4, width <= Schema.maximumInputs else {
            throw DeMLError(
                .tooLarge, "\(rows) rows of \(width) inputs need more than \(maximumBytes) bytes",
                hint: "leave columns out by --ignore-columns")
        }
        var maps: [[Int32]] = []
        for (column, feature) in zip(columns, schema) { maps.append(try Self.categories(column, feature)) }
        func tensors<Number: ExampleNumber>(
            _: Number.Type, _ make: ([Int], [Number]) -> Tensor
        ) -> (train: Tensor, test: Tensor?) {
            var test: [Number] = []
            let train: [Number] = makeArray(count: split.trainRows.count * width) { train in
                test = makeArray(count: split.testRows.count * width) { test in
                    Self.fill(train, test, columns, schema, maps, split, width)
                }
            }
            return (
                make([split.trainRows.count, width], train),
                split.testRows.isEmpty ? nil : make([split.testRows.count, width], test)
            )
        }
        return asBytes
            ? tensors(UInt8.self) { Tensor(shape: $0, bytes: $1) }
            : tensors(Float.self) { Tensor(shape: $0, floats: $1) }
    }

    /// For each word of a column the place of its category; empty for numbers.
    private static func categories(_ column: TableColumn, _ feature: Schema.Feature) throws(DeMLError) -> [Int32] {
        guard case .category(let values) = feature.kind else { return [] }
        let places = Dictionary(zip(values, Int32(0)...)) { first, _ in first }
        // Numbers among the values may be written in other ways: 1 and 1.0.
        var places2: [Double: Int32] = [:]
        for (place, value) in values.enumerated() {
            if let number = NumberText.number(value) { places2[number] = Int32(place) }
        }
        var map: [Int32] = []
        for text in column.wordTexts() {
            guard let text else {
                map.append(-1)
                continue
            }
            guard let place = places[text] ?? NumberText.number(text).flatMap({ places2[$0] }) else {
                throw DeMLError(
                    .outOfRange,
                    "the value \(text.quotedForMessage) is none that the model knows",
                    place: "column \(feature.name.quotedForMessage)",
                    hint:
                        "it knows \(Naming.list(values, nearest: text)); --missing-values '\(text)' takes it as missing"
                )
            }
            map.append(place)
        }
        if column.words.isFull {
            throw DeMLError(
                .outOfRange, "there are texts that the model does not know",
                place: "column \(feature.name.quotedForMessage)", hint: "it knows \(Naming.list(values))")
        }
        return map
    }

    private static func fill<Number: ExampleNumber>(
        _ train: UnsafeMutableBufferPointer<Number>, _ test: UnsafeMutableBufferPointer<Number>,
        _ columns: [TableColumn], _ schema: [Schema.Feature], _ maps: [[Int32]], _ split: RowSplit, _ width: Int
    ) {
        guard let pieces = columns.first?.pieceCount, let pieceRows = columns.first?.pieceRows else { return }
        // Some hundred rows of all columns stay in the processor's cache while they are put together.
        let most = 512
        let targets = UnsafeMutablePointer<UnsafeMutablePointer<Number>>.allocate(capacity: most)
        defer { targets.deallocate() }
        for piece in 0..<pieces {
            let count = min(pieceRows, split.places.count - piece * pieceRows)
            for start in stride(from: 0, to: count, by: most) {
                let rows = start..<min(start + most, count)
                for row in rows {
                    let place = Int(split.places[piece * pieceRows + row])
                    (targets + row - start).initialize(
                        to: place >= 0
                            ? train.baseAddress! + place * width : test.baseAddress! + (-1 - place) * width)
                }
                var offset = 0
                for (index, column) in columns.enumerated() {
                    let feature = schema[index]
                    column.withPiece(piece) { bits in
                        let bits = UnsafeBufferPointer(rebasing: bits[rows])
                        switch feature.kind {
                        case .number(let mean, let deviation):
                            write(
                                numbers: bits, column.origin, mean, deviation, feature.hasMissing, targets, offset)
                        case .category(let values):
                            write(words: bits, maps[index], values.count, feature.hasMissing, targets, offset)
                        }
                    }
                    offset += feature.width
                }
            }
            for column in columns { column.release(piece) }
        }
    }

    /// Numbers to one place of each row, 0 for those that are missing, and to the next place whether they are, if it is there.
    private static func write<Number: ExampleNumber>(
        numbers bits: UnsafeBufferPointer<UInt32>, _ origin: Double, _ mean: Double, _ deviation: Double,
        _ hasMissing: Bool, _ targets: UnsafePointer<UnsafeMutablePointer<Number>>, _ offset: Int
    ) {
        @inline(__always)
        func each(_ value: (Float) -> Float) {
            for row in 0..<bits.count {
                let stored = Float(bitPattern: bits[row])
                targets[row][offset] = Number(example: stored.isNaN ? 0 : value(stored))
            }
        }
        let shift = origin - mean
        let scale = 1 / deviation
        if mean == 0, deviation == 1, origin == 0 {
            each { $0 }
        } else if deviation == 1 {
            each { Float(shift + Double($0)) }
        } else {
            each { Float((shift + Double($0)) * scale) }
        }
        guard hasMissing else { return }
        for row in 0..<bits.count {
            targets[row][offset + 1] = Number(example: Float(bitPattern: bits[row]).isNaN ? 1 : 0)
        }
    }

    /// Categories to `count` places of each row, one of which becomes 1: that which `map` says for a word, if any. To the
    /// next place whether there is none, if it is there.
    private static func write<Number: ExampleNumber>(
        words bits: UnsafeBufferPointer<UInt32>, _ map: [Int32], _ count: Int, _ hasMissing: Bool,
        _ targets: UnsafePointer<UnsafeMutablePointer<Number>>, _ offset: Int
    ) {
        let (zero, one) = (Number(example: 0), Number(example: 1))
        for row in 0..<bits.count {
            let target = targets[row] + offset
            for value in 0..<count { target[value] = zero }
            let code = Int32(bitPattern: bits[row])
            let category = code >= 0 ? map[Int(code)] : -1
            if category >= 0 { target[Int(category)] = one }
            if hasMissing { target[count] = category < 0 ? one : zero }
        }
    }

    // MARK: Labels

    /// Class ids by the names of a schema; nil where the file has no labels, or has others and `isLenient`.
    func classIDs(_ names: [String], isLenient: Bool) throws(DeMLError) -> [Int64]? {
        guard let label = labels.first else { return nil }
        let numbering = ClassNumbering(names: names)
        func unknown(_ text: String) -> DeMLError {
            DeMLError(
                .outOfRange, "the label \(text.quotedForMessage) is none of the classes that the model knows",
                place: "column \(label.name.quotedForMessage)", hint: "it knows \(Naming.list(names, nearest: text))")
        }
        var ids: [Int64] = []
        ids.reserveCapacity(rows)
        if label.kind == .words {
            let places = Dictionary(zip(names, Int64(0)...)) { first, _ in first }
            var map: [Int64] = []
            for text in label.wordTexts() {
                guard let text else {
                    map.append(-1)
                    continue
                }
                guard let id = places[text] ?? NumberText.number(text).flatMap({ numbering.id(of: $0).map(Int64.init) })
                else {
                    if isLenient { return nil }
                    throw unknown(text)
                }
                map.append(id)
            }
            for code in label.codes() { ids.append(code < 0 ? -1 : map[Int(code)]) }
        } else {
            for value in label.exact {
                guard let id = numbering.id(of: value) else {
                    if isLenient { return nil }
                    throw unknown(NumberText.name(of: value))
                }
                ids.append(Int64(id))
            }
        }
        return ids
    }

    /// Names of the classes of this table's label, and what was decided about them.
    func classNames(_ options: DatasetOptions) throws(DeMLError) -> (names: [String], areIDs: Bool) {
        guard let label = labels.first else { throw DeMLError(.internal, "a table without a label has no classes") }
        guard label.kind == .words else {
            let numbering = try ClassNumbering(
                of: Set(label.exact), outputs: options.outputs, named: header.classNames)
            return (numbering.names, !numbering.isRenumbered && header.classNames == nil)
        }
        guard !label.words.isFull else {
            throw DeMLError(
                .outOfRange,
                "the label column \(label.name.quotedForMessage) holds more than \(WordList.maximumCount) different names",
                hint: "is it the right column? --label-column names another")
        }
        return (label.wordTexts().compactMap(\.self).sorted(by: Self.isBefore), false)
    }
}
