import Tensors

extension Dataset {
    /// Reads a dataset; what it is is recognised by content, not by name:
    ///
    /// * a folder with the IDX files of MNIST, Fashion-MNIST or EMNIST (torchvision's folder too); with `train.csv` and
    ///   `test.csv`, or `X_train.csv`, `y_train.csv` and so on; with `.npy` files of such names; or with safetensors files
    ///   (`test*` is the test set, the others are put together in the order of their names, so that a folder of shards is a
    ///   dataset);
    /// * a file: CSV; `.npz` or safetensors with `x_train`, `y_train`, `x_test`, `y_test`, or `x` and `y`, or other names
    ///   that are usual. Each may be gzip-compressed, except `.npz`.
    ///
    /// Where there is no test set a part of the examples becomes one, see ``DatasetOptions/testFraction``.
    /// Errors have the path as place.
    public init(path: String, options: DatasetOptions = DatasetOptions()) throws(DeMLError) {
        self = try Self.at(path) { () throws(DeMLError) in
            try Dataset(try DatasetSource.read(path, options), Files.name(of: path), options)
        }
    }

    /// Reads the bytes of one file as stored, recognised by content.
    public init(
        storedBytes bytes: [UInt8], name: String, options: DatasetOptions = DatasetOptions()
    ) throws(DeMLError) {
        try self.init(try DatasetSource(storedBytes: bytes, options: options), name, options)
    }

    private init(_ source: DatasetSource, _ name: String, _ options: DatasetOptions) throws(DeMLError) {
        let parts = try DatasetParts(source, options, needsLabels: true)
        guard let train = parts.train, let trainY = train.y else {
            throw DeMLError(
                .missing, "there are no labels to learn from",
                hint: "give a folder or a file with examples and labels; deml predict takes examples alone")
        }
        var test: Part?
        if let found = parts.test, let y = found.y { test = Part(x: found.x, y: y) }
        try self.init(
            name: name, train: Part(x: train.x, y: trainY), test: test, classNames: parts.classNames)
        schema = parts.schema
        if classes != nil { classes = schema.outputs }
        decisions = parts.decisions
        trainRows = train.rows
        testRows = parts.test?.rows ?? []
        isSplit = parts.isSplit
        groups = parts.groups
        (stride, isByRole) = (parts.stride, parts.isByRole)
    }

    private static func at<Result>(_ path: String, _ body: () throws(DeMLError) -> Result) throws(DeMLError) -> Result {
        do throws(DeMLError) {
            return try body()
        } catch {
            throw error.place?.hasPrefix(path) == true ? error : error.within(path)
        }
    }
}

/// The parts of a source as examples: encoded by a schema that is decided or obeyed.
struct DatasetParts {
    struct Part {
        var x: Tensor
        var y: Tensor?
        var rows: [Int]
    }

    var train: Part?
    var test: Part?
    var schema: Schema
    var classNames: [String]?
    var decisions: [Decision] = []
    var isSplit = false
    var stride: Int?
    var isByRole = false
    var groups: (ids: [Int], names: [String])?

    init(_ source: DatasetSource, _ options: DatasetOptions, needsLabels: Bool) throws(DeMLError) {
        switch source.train ?? source.test {
        case nil: throw DeMLError(.missing, "there are no examples")
        case .arrays?: try self.init(arrays: source, options, needsLabels: needsLabels)
        case .table?, .tables?: try self.init(tables: source, options, needsLabels: needsLabels)
        case .text(let files)?: try self.init(text: files, options)
        }
    }

    // MARK: Text

    private init(text files: TextFiles, _ options: DatasetOptions) throws(DeMLError) {
        if let known = options.schema {
            guard case .tokens = known.features else {
                throw DeMLError(.mismatch, "the file is text, but the model was made from \(known.features.words)")
            }
        }
        let reading = try TextReading(
            files, options, schema: options.schema, testFraction: files.test.isEmpty ? options.testFraction : 0)
        func part(_ part: Dataset.Part) -> Part { Part(x: part.x, y: part.y, rows: Array(0..<part.count)) }
        schema = reading.schema
        classNames = schema.namesThatSayMore
        decisions = reading.decisions
        train = part(reading.train)
        test = reading.test.map(part)
        groups = reading.groups
        isSplit = reading.isSplit
        stride = reading.stride
        isByRole = options.groupColumn == "role"
    }

    // MARK: Arrays

    private init(arrays source: DatasetSource, _ options: DatasetOptions, needsLabels: Bool) throws(DeMLError) {
        decisions = source.decisions
        func arrays(_ part: DatasetSource.Part?) -> (x: SourceArray, y: SourceArray?)? {
            if case .arrays(let x, let y)? = part { (x, y) } else { nil }
        }
        func labelled(_ part: (x: SourceArray, y: SourceArray?)?) -> (x: SourceArray, y: SourceArray)? {
            part.flatMap { part in part.y.map { (part.x, $0) } }
        }
        let trainArrays = arrays(source.train)
        let testArrays = arrays(source.test)
        if let known = source.schema ?? options.schema {
            if let model = options.schema, let file = source.schema { try model.checkIsMet(by: file) }
            schema = known
            classNames = known.namesThatSayMore
            if source.schema == nil, case .table = known.features {
                throw DeMLError(
                    .mismatch, "the file has arrays without names, but the model was made from a table",
                    hint: "give a table with the columns \(Naming.list(known.columnNames, limit: 8))")
            }
            func part(_ arrays: (x: SourceArray, y: SourceArray?)?) throws(DeMLError) -> Part? {
                guard let arrays else { return nil }
                if case .tokens = known.features {
                    return try TokenArrays.part(arrays.x, arrays.y, known.target, options)
                }
                let x = try Self.placed(try ArrayReading.numbers(arrays.x), known)
                var y: Tensor?
                if let labels = arrays.y {
                    y = try DatasetSource.attempt("y") { (_) throws(DeMLError) in
                        try ArrayLabels.values(labels, known.target, options)
                    }
                }
                return Part(x: x, y: y, rows: Array(0..<(x.shape.first ?? 0)))
            }
            train = try part(trainArrays)
            test = try part(testArrays)
        } else {
            guard let whole = labelled(trainArrays) else {
                throw DeMLError(
                    .missing, "the file has examples but no labels",
                    hint: "learning needs both; give a file or folder with x and y")
            }
            let reading =
                if let tokens = options.tokens {
                    try TokenArrays.reading(train: whole, test: labelled(testArrays), tokens: tokens, options)
                } else {
                    try ArrayReading(train: whole, test: labelled(testArrays), options)
                }
            if testArrays != nil, reading.test == nil {
                decisions.append(
                    Decision(
                        "test set", "that of the file has no labels: a part of the training set is used",
                        isWarning: true))
            }
            schema = reading.schema
            classNames = reading.classNames
            decisions += reading.decisions
            train = Part(x: reading.train.x, y: reading.train.y, rows: Array(0..<reading.train.count))
            test = reading.test.map { Part(x: $0.x, y: $0.y, rows: Array(0..<$0.count)) }
            decisions += Self.summary(schema, reading.train)
        }
        groups = source.files
        try splitArrays(options)
    }

    /// `[N, …]` in the order of a schema's pictures.
    private static func placed(_ x: Tensor, _ schema: Schema) throws(DeMLError) -> Tensor {
        if case .pixels(let shape, .channelsLast) = schema.features, x.shape.count == 4,
            Array(x.shape.dropFirst()) == [shape[1], shape[2], shape[0]]
        {
            return Dataset.channelsFirst(x)
        }
        return x
    }

    /// Sets a part of the only part apart as test set.
    private mutating func splitArrays(_ options: DatasetOptions) throws(DeMLError) {
        guard test == nil, options.testFraction > 0, let whole = train else { return }
        guard whole.y.map({ $0.shape.first == whole.x.shape.first }) ?? true else {
            throw DeMLError(
                .mismatch, "there are \(whole.x.shape.first ?? 0) examples, but y has the shape \(whole.y?.shape ?? [])"
            )
        }
        let split = try RowSplit(
            whole.x.shape.first ?? 0, fraction: options.testFraction, seed: options.splitSeed)
        func part(_ rows: [Int]) -> Part {
            Part(x: whole.x.gatherRows(rows), y: whole.y.map { $0.gatherRows(rows) }, rows: rows)
        }
        train = part(split.trainRows)
        test = part(split.testRows)
        isSplit = true
        if let files = groups { groups = (split.trainRows.map { files.ids[$0] }, files.names) }
        decisions.append(Self.splitDecision(split, options))
    }

    private static func splitDecision(_ split: RowSplit, _ options: DatasetOptions) -> Decision {
        let count = split.trainRows.count + split.testRows.count
        return Decision(
            "test set",
            "\(split.testRows.count) of \(count) rows, drawn with seed \(options.splitSeed) (--test-fraction)")
    }

    private static func summary(_ schema: Schema, _ part: Dataset.Part) -> [Decision] {
        var lines = [
            Decision(
                "examples",
                "\(part.count) of \(part.exampleShape.map(String.init).joined(separator: "×")), \(part.x.dtype.rawValue)"
            )
        ]
        lines.append(Self.targetDecision(schema.target))
        return lines
    }

    static func targetDecision(_ target: Schema.Target) -> Decision {
        switch target {
        case .classes(let names, _):
            Decision("classes", "\(names.count): \(Naming.list(names, limit: 12))")
        case .numbers(let columns):
            Decision("target", "numbers to predict: \(Naming.list(columns, limit: 12))")
        }
    }

    // MARK: Tables

    private init(tables source: DatasetSource, _ options: DatasetOptions, needsLabels: Bool) throws(DeMLError) {
        let known = options.schema
        decisions = source.decisions
        var options = options
        if known == nil, options.labelColumn == nil, let label = source.labelThatTestLacks(options) {
            options.labelColumn = label
            decisions.append(
                Decision(
                    "label",
                    "\(label.quotedForMessage) (the one column that the test set lacks; --label-column names another)"))
        }
        func content(
            _ part: DatasetSource.Part, _ schema: Schema?, needsLabels: Bool
        ) throws(DeMLError) -> (features: TableContent, labels: TableContent) {
            switch part {
            case .table(let files, let place):
                let content = try DatasetSource.attempt(place) { (_) throws(DeMLError) in
                    try TableContent(files, options, schema: schema, needsLabel: needsLabels)
                }
                return (content, content)
            case .tables(let x, let y, let place):
                return try DatasetSource.attempt(place) { (_) throws(DeMLError) in
                    let features = try TableContent(
                        [TableFile(path: "", text: x)], options, schema: schema, needsLabel: false, role: .features)
                    let labels = try TableContent(
                        [TableFile(path: "", text: y)], options, schema: nil, needsLabel: true, role: .labels)
                    guard features.rows == labels.rows else {
                        throw DeMLError(
                            .mismatch, "there are \(features.rows) rows, but \(labels.rows) in the file of labels")
                    }
                    return (features, labels)
                }
            case .arrays, .text: throw DeMLError(.internal, "this is no table")
            }
        }
        guard let first = source.train ?? source.test else { throw DeMLError(.internal, "there is no table") }
        let train = try content(first, known, needsLabels: needsLabels)
        decisions += Self.fileDecisions(train.features, first)
        decisions += train.features.decisions
        if train.labels.header.text != train.features.header.text || train.labels.rows != train.features.rows {
            decisions += train.labels.decisions
        }
        let target: Schema.Target
        if let known {
            target = known.target
        } else {
            target = try Self.target(train.labels, options, &classNames, &decisions)
        }

        // The kinds of columns are enough to read the test set by.
        var columns: [TableColumn]
        var features: [Schema.Feature]
        if let known {
            (columns, features) = (train.features.features, known.tableFeatures)
        } else {
            (columns, features) = train.features.features(
                standardizes: false, RowSplit(all: train.features.rows))
        }
        guard !features.isEmpty else {
            throw DeMLError(.malformed, "no column to learn from has a value")
        }
        let kinds = known ?? Schema(features: .table(features), target: target)
        var test: (features: TableContent, labels: TableContent)?
        if source.train != nil, let part = source.test {
            let found = try content(part, kinds, needsLabels: false)
            if found.labels.labels.isEmpty, needsLabels || known == nil {
                decisions.append(
                    Decision(
                        "test set", "that of the folder has no label column: a part of the training set is used",
                        isWarning: true))
            } else {
                test = found
            }
        }
        let split =
            test == nil && options.testFraction > 0
            ? try RowSplit(train.features.rows, fraction: options.testFraction, seed: options.splitSeed)
            : RowSplit(all: train.features.rows)
        isSplit = !split.testRows.isEmpty
        if known == nil {
            let all = columns.map(\.name)
            (columns, features) = train.features.features(standardizes: options.standardizes, split)
            let empty = train.features.features.filter(\.isEmpty).map(\.name)
            if !empty.isEmpty {
                decisions.append(Decision("left out", "\(Naming.list(empty)): no row has a value"))
            }
            precondition(columns.map(\.name) == all, "the columns of a table do not change")
            decisions += Self.featureDecisions(columns, features, standardizes: options.standardizes)
            decisions.append(Self.targetDecision(target))
        } else {
            decisions += Self.gapDecisions(columns, features)
        }
        schema = known ?? Schema(features: .table(features), target: target)
        classNames = classNames ?? known?.namesThatSayMore
        let testColumns = test?.features.features ?? []
        let asBytes =
            features.allSatisfy(\.isRaw) && columns.allSatisfy(\.areBytes) && testColumns.allSatisfy(\.areBytes)
        let x = try train.features.examples(
            columns, features, split, asBytes: asBytes, maximumBytes: options.maximumBytes)
        let y = try Self.labels(train.labels, target, isLenient: !needsLabels)
        groups = Self.groups(train.features.group, split) ?? Self.groups(first, train.features, split)
        let whole = Part(x: x.train, y: y, rows: split.trainRows)
        if source.train == nil {
            self.test = whole
            return
        }
        if let test {
            self.train = whole
            let rows = RowSplit(all: test.features.rows)
            let testX = try DatasetSource.attempt(Self.place(source.test)) { (_) throws(DeMLError) in
                try test.features.examples(
                    testColumns, features, rows, asBytes: asBytes, maximumBytes: options.maximumBytes)
            }
            let testY = try DatasetSource.attempt(Self.place(source.test)) { (_) throws(DeMLError) in
                try Self.labels(test.labels, target, isLenient: !needsLabels)
            }
            self.test = Part(x: testX.train, y: testY, rows: rows.trainRows)
            decisions.append(Decision("test set", "\(test.features.rows) rows of a file of their own"))
        } else if isSplit, let testX = x.test {
            self.train = Part(x: x.train, y: y.map { $0.gatherRows(split.trainRows) }, rows: split.trainRows)
            self.test = Part(x: testX, y: y.map { $0.gatherRows(split.testRows) }, rows: split.testRows)
            decisions.append(Self.splitDecision(split, options))
        } else {
            self.train = whole
        }
    }

    private static func place(_ part: DatasetSource.Part?) -> String {
        switch part {
        case .table(_, let place)?, .tables(_, _, let place)?: place
        default: "test set"
        }
    }

    private static func fileDecisions(_ content: TableContent, _ part: DatasetSource.Part) -> [Decision] {
        var lines: [Decision] = []
        if case .table(let files, _) = part, files.count > 1 {
            let names = zip(files, content.fileRows).map { "\(Files.name(of: $0.path)) (\($1) rows)" }
            lines.append(
                Decision("files", "\(files.count), put together by column names: \(Naming.list(names, limit: 8))"))
        }
        var text = "\(content.rows) rows, separator \(content.dialect.separatorName)"
        if content.dialect.decimal == UInt8(ascii: ",") { text += ", decimal comma" }
        return lines + [Decision("table", text), Decision("header", content.header.text)]
    }

    /// Classes or numbers: as the loss says, else by what the label column holds.
    private static func target(
        _ content: TableContent, _ options: DatasetOptions, _ classNames: inout [String]?, _ decisions: inout [Decision]
    ) throws(DeMLError) -> Schema.Target {
        let labels = content.labels
        guard let label = labels.first else { throw DeMLError(.missing, "the file has no label") }
        let areClasses: Bool
        switch options.labels {
        case .numbers: areClasses = false
        case .classes: areClasses = true
        case .automatic:
            if label.kind == .words {
                areClasses = true
            } else if labels.count == 1, label.areWhole {
                areClasses = try mayBeClasses(label, rows: content.rows)
            } else {
                areClasses = false
            }
        }
        if !areClasses {
            if let words = labels.first(where: { $0.kind == .words }) {
                let text = words.wordTexts().compactMap(\.self).first { NumberText.number($0) == nil } ?? ""
                throw DeMLError(
                    .malformed, "the label \(text.quotedForMessage) is no number",
                    place: "column \(words.name.quotedForMessage)", hint: "loss: cross_entropy learns classes")
            }
            if let large = labels.first(where: {
                max(abs($0.minimum), abs($0.maximum)) > Double(Float.greatestFiniteMagnitude)
            }) {
                throw DeMLError(
                    .notFinite, "a number is too large", place: "column \(large.name.quotedForMessage)")
            }
            return .numbers(labels.map(\.name))
        }
        guard labels.count == 1 else {
            throw DeMLError(
                .usage, "\(labels.count) label columns are numbers to predict, but the model learns classes",
                hint: "name one label column, or use loss: mse")
        }
        let (names, areIDs) = try DatasetSource.attempt("column \(label.name.quotedForMessage)") {
            (_) throws(DeMLError) in
            try content.classNames(options)
        }
        guard names.count > 1 || options.labels == .classes else {
            throw DeMLError(
                .usage, "every row has the same label, \(names.first ?? "")",
                place: "column \(label.name.quotedForMessage)",
                hint: "say --label-column NAME")
        }
        if !areIDs { classNames = names }
        return .classes(names, column: label.name)
    }

    /// Whether whole numbers are names of classes; with too few rows for each of them and too many for a quantity, both may
    /// be meant, and a person is asked.
    private static func mayBeClasses(_ label: TableColumn, rows: Int) throws(DeMLError) -> Bool {
        let distinct = Set(label.exact).count
        if distinct <= mostCertainClasses || (distinct <= 1000 && distinct * 20 <= rows) { return true }
        if distinct > 1000 || distinct * 2 > rows { return false }
        throw DeMLError(
            .usage,
            "\(label.name.quotedForMessage) holds \(distinct) different whole numbers in \(rows) rows: classes, or a quantity to predict?",
            hint: "say --labels classes or --labels numbers, or give the model a loss")
    }

    /// So many different whole numbers are classes, however few rows there are.
    private static let mostCertainClasses = 20

    private static func labels(
        _ content: TableContent, _ target: Schema.Target, isLenient: Bool
    ) throws(DeMLError) -> Tensor? {
        switch target {
        case .classes(let names, _):
            return try content.classIDs(names, isLenient: isLenient).map { Tensor(shape: [$0.count], int64s: $0) }
        case .numbers:
            guard !content.labels.isEmpty else { return nil }
            let columns = content.labels.map(\.exact)
            let width = columns.count
            var floats = [Float](repeating: 0, count: content.rows * width)
            for (column, values) in columns.enumerated() {
                for (row, value) in values.enumerated() { floats[row * width + column] = Float(value) }
            }
            return Tensor(shape: [content.rows, width], floats: floats)
        }
    }

    private static func groups(_ column: TableColumn?, _ split: RowSplit) -> (ids: [Int], names: [String])? {
        guard let column else { return nil }
        let texts = column.wordTexts().map { $0 ?? "" }
        let order = texts.indices.sorted { TableContent.isBefore(texts[$0], texts[$1]) }
        var places = [Int](repeating: 0, count: texts.count)
        for (place, code) in order.enumerated() { places[code] = place }
        let codes = column.codes()
        return (split.trainRows.map { places[Int(max(0, codes[$0]))] }, order.map { texts[$0] })
    }

    /// Of several files each is a client.
    private static func groups(
        _ part: DatasetSource.Part, _ content: TableContent, _ split: RowSplit
    ) -> (ids: [Int], names: [String])? {
        guard case .table(let files, _) = part, files.count > 1 else { return nil }
        var ids: [Int] = []
        for (file, rows) in content.fileRows.enumerated() { ids += repeatElement(file, count: rows) }
        return (split.trainRows.map { ids[$0] }, files.map { Files.name(of: $0.path) })
    }

    private static func featureDecisions(
        _ columns: [TableColumn], _ features: [Schema.Feature], standardizes: Bool
    ) -> [Decision] {
        var lines: [Decision] = []
        let numbers = features.filter { if case .number = $0.kind { true } else { false } }
        let inputs = features.reduce(0) { $0 + $1.width }
        lines.append(
            Decision(
                "features",
                "\(features.count) columns, \(inputs) inputs: \(Naming.list(features.map(\.name), limit: 12))"))
        if !numbers.isEmpty {
            lines.append(
                Decision(
                    "numbers",
                    "\(numbers.count), "
                        + (standardizes
                            ? "standardised by the training rows (--standardize false takes them as they are)"
                            : "as they are (--standardize true brings them to mean 0 and deviation 1)")))
        }
        for feature in features {
            guard case .category(let values) = feature.kind else { continue }
            lines.append(
                Decision(
                    "category", "\(feature.name.quotedForMessage), one input each: \(Naming.list(values, limit: 10))"))
        }
        let gaps = zip(columns, features).filter { $1.hasMissing }
        if !gaps.isEmpty {
            let text = gaps.prefix(8).map { "\($0.0.missing) in \($0.0.name.quotedForMessage)" }.joined(separator: ", ")
            lines.append(
                Decision("missing", text + (gaps.count > 8 ? " and others" : "") + ": an input of its own says so"))
        }
        return lines
    }

    /// Missing values in columns that had none when the model was made.
    private static func gapDecisions(_ columns: [TableColumn], _ features: [Schema.Feature]) -> [Decision] {
        zip(columns, features).compactMap { column, feature in
            guard column.missing > 0, !feature.hasMissing else { return nil }
            return Decision(
                "missing",
                "\(column.missing) in \(column.name.quotedForMessage), where the model saw none: taken as the mean",
                isWarning: true)
        }
    }
}

extension Schema {
    /// Names of the classes where they are not just 0, 1, 2 ….
    var namesThatSayMore: [String]? {
        guard let names = classNames else { return nil }
        return names.enumerated().allSatisfy { $0.element == String($0.offset) } ? nil : names
    }

    /// The features as columns of a table: of arrays, numbers as they are.
    var tableFeatures: [Feature] {
        if case .table(let columns) = features { return columns }
        return (0..<inputShape.reduce(1, *)).map { Feature(name: String($0), kind: .number(mean: 0, deviation: 1)) }
    }

    /// Refuses, by name, a schema that does not fit this one.
    package func checkIsMet(by other: Schema) throws(DeMLError) {
        guard features == other.features else {
            throw DeMLError(.mismatch, "its examples are not those of the model: \(difference(other))")
        }
        guard target == other.target else {
            throw DeMLError(
                .mismatch, "its labels are not those of the model",
                hint: "the model has \(Naming.list(classNames ?? targetColumns, limit: 12)), the file "
                    + Naming.list(other.classNames ?? other.targetColumns, limit: 12))
        }
    }

    /// How the features of another schema differ from these, in words.
    package func difference(_ other: Schema) -> String {
        guard case .table(let mine) = features, case .table(let theirs) = other.features else {
            return "\(features.words) of shape \(inputShape) here, \(other.features.words) of \(other.inputShape) there"
        }
        let added = theirs.map(\.name).filter { name in !mine.contains { $0.name == name } }
        let lost = mine.map(\.name).filter { name in !theirs.contains { $0.name == name } }
        if !lost.isEmpty { return "the columns \(Naming.list(lost, limit: 8)) are missing" }
        if !added.isEmpty { return "the columns \(Naming.list(added, limit: 8)) are new" }
        let changed = zip(mine, theirs).first { $0 != $1 }
        return changed.map { "the column \($0.0.name.quotedForMessage) has other values or another scale" }
            ?? "their order"
    }
}
