import Tensors

/// What every column of a table is for: decided from its first rows and from what the person said, or by a schema.
struct TablePlan {
    /// More different texts are not turned into inputs of their own.
    static let maximumCategories = 100
    /// Columns of numbers and words that have more different texts are not taken for categories.
    static let maximumMixed = 50

    var header: TableHeader
    var kinds: [TableColumn.Kind]
    /// Indices of the columns; in the order of the schema where there is one.
    var features: [Int]
    var labels: [Int]
    var group: Int?
    var decisions: [Decision] = []
    /// The columns are by position because the file has no names.
    var isByPosition = false

    /// What the columns of a file without a schema are.
    enum Role {
        case featuresAndLabel, features, labels
    }

    static let missingTexts: Set<String> = [
        "?", "NA", "N/A", "n/a", "na", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None", "<NA>", "#N/A", "#NA",
        "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "NaT",
    ]

    static func missing(_ options: DatasetOptions) -> Set<String> {
        missingTexts.union(options.missingValues)
    }

    // MARK: Without a schema

    init(_ sample: TableSample, _ options: DatasetOptions, _ role: Role) throws(DeMLError) {
        let missing = Self.missing(options)
        let named = options.labelColumn.map { Self.split($0) } ?? []
        header = try sample.header(options, expected: [options.labelColumn ?? ""] + named)
        if let field = sample.ambiguousComma, options.decimal == nil {
            throw DeMLError(
                .usage, "\(field.quotedForMessage) may be a number with a decimal comma, or one of thousands",
                hint: "say --decimal comma or --decimal point")
        }
        let rows = Array(sample.rows.dropFirst(header.isPresent ? 1 : 0))
        guard !rows.isEmpty else { throw DeMLError(.truncated, "the file has no line of values, only names") }
        let names = header.names
        let decimal = sample.dialect.decimal
        let columns = names.indices.map { column in ColumnSample(rows.map { $0[column] }, missing, decimal) }
        kinds = columns.map { $0.isWords ? .words : .numbers }
        features = []
        labels = []

        func index(_ name: String, _ option: String) throws(DeMLError) -> Int {
            if let index = names.firstIndex(of: name) { return index }
            if let number = Int(name), (-names.count..<names.count).contains(number) {
                return number < 0 ? names.count + number : number
            }
            let near = Naming.nearest(name, in: names).map { "did you mean \($0.quotedForMessage)? " } ?? ""
            throw DeMLError(
                .missing, "there is no column \(name.quotedForMessage)",
                hint: header.isNamed
                    ? "\(near)the first line has \(Naming.list(names, nearest: name))"
                    : "the file has no names: say --\(option) N, counted from 0 to \(names.count - 1)")
        }
        var leftOut: Set<Int> = []
        for name in options.ignoredColumns { leftOut.insert(try index(name, "ignore-columns")) }
        for name in options.categoryColumns { kinds[try index(name, "category-columns")] = .words }
        if let name = options.groupColumn {
            let place = try index(name, "partition by_column:")
            group = place
            kinds[place] = .words
        }
        if let text = options.labelColumn, role == .featuresAndLabel {
            labels = names.contains(text) ? [try index(text, "label-column")] : []
            if labels.isEmpty { for name in named { labels.append(try index(name, "label-column")) } }
            guard Set(labels).count == labels.count else {
                throw DeMLError(.usage, "--label-column names a column twice")
            }
        }
        // What only counts or names the rows teaches nothing.
        for column in names.indices where !labels.contains(column) && group != column && !leftOut.contains(column) {
            if let reason = Self.reasonToLeaveOut(column, header, columns[column]) {
                leftOut.insert(column)
                decisions.append(
                    Decision("left out", "\(names[column].quotedForMessage): \(reason)"))
            }
        }
        let candidates = names.indices.filter { !leftOut.contains($0) && group != $0 }
        if role == .labels { labels = Array(candidates) }
        if labels.isEmpty, role == .featuresAndLabel {
            let (label, why) = try Self.label(candidates, header, columns, options)
            labels = [label]
            decisions.insert(Decision("label", "\(names[label].quotedForMessage) (\(why))"), at: 0)
        }
        features = candidates.filter { !labels.contains($0) }
        for column in leftOut { kinds[column] = .leftOut }
        for label in labels {
            let isWords = kinds[label] == .words && options.labels != .numbers
            kinds[label] = isWords ? .words : .exactNumbers
        }
        guard !features.isEmpty || role == .labels else {
            throw DeMLError(
                .malformed,
                "there is \(names.count == 1 ? "one column" : "a label") but no column to learn from",
                hint: names.count == 1 ? "the first line has 1 field: is it a CSV file?" : nil)
        }
    }

    /// `a, b`: names of several columns.
    static func split(_ text: String) -> [String] {
        text.split(separator: ",").map { part in
            String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
    }

    private static func reasonToLeaveOut(_ column: Int, _ header: TableHeader, _ sample: ColumnSample) -> String? {
        let name = header.names[column]
        if header.hasRowNames, column == 0 { return "names of rows" }
        guard header.isNamed, sample.count >= 2 else { return nil }
        if name.hasPrefix("Unnamed: ") {
            if sample.isSequence { return "it has no name and counts the rows" }
            if sample.isAllMissing { return "it has neither name nor values" }
        }
        let isIdentifier =
            ["id", "index", "row_id", "rowid", "uuid", "guid"].contains(name.lowercased()) || name.hasSuffix("Id")
            || name.hasSuffix("_id")
        if isIdentifier, sample.count >= 20, sample.distinct == sample.count, sample.areWhole || sample.isWords {
            return "every row has another value: it names the rows"
        }
        return nil
    }

    /// The label column where nobody named it: one that is called so, or the only one at either end that can be classes.
    private static func label(
        _ candidates: [Int], _ header: TableHeader, _ columns: [ColumnSample], _ options: DatasetOptions
    ) throws(DeMLError) -> (Int, String) {
        let names = header.names
        func ask(_ what: String) -> DeMLError {
            DeMLError(
                .usage, what,
                hint: header.isNamed
                    ? "say --label-column NAME; the first line has \(Naming.list(names))"
                    : "say --label-column N, counted from 0 to \(names.count - 1), or -1 for the last")
        }
        if header.classNames != nil, let last = candidates.last { return (last, "the last, as scikit-learn has it") }
        if header.isNamed {
            let called = candidates.filter { ["label", "labels", "target", "class"].contains(names[$0].lowercased()) }
            if called.count == 1 { return (called[0], "called so; --label-column names another") }
            if called.count > 1 {
                throw ask("the label may be \(called.map { names[$0].quotedForMessage }.joined(separator: " or "))")
            }
            let y = candidates.filter { names[$0].lowercased() == "y" }
            if y.count == 1, !candidates.contains(where: { names[$0].lowercased() == "x" }) {
                return (y[0], "called so; --label-column names another")
            }
        }
        guard let first = candidates.first, let last = candidates.last, first != last else {
            throw DeMLError(
                .malformed,
                "the first line has \(names.count) field\(names.count == 1 ? "" : "s"), but a label and at least one number are needed",
                hint: "is it a CSV file?")
        }
        guard options.labels != .numbers else { throw ask("which column is to be predicted is not known") }
        let isFirst = columns[first].mayBeClasses
        let isLast = columns[last].mayBeClasses
        if isFirst, !isLast { return (first, "the first; the last can be no class; --label-column names another") }
        if isLast, !isFirst { return (last, "the last; the first can be no class; --label-column names another") }
        throw ask(
            isFirst
                ? "the label may be the first column, \(names[first].quotedForMessage), or the last, \(names[last].quotedForMessage)"
                : "which column is the label is not known: neither the first, \(names[first].quotedForMessage), nor the last, \(names[last].quotedForMessage), looks like classes"
        )
    }

    // MARK: With a schema

    /// The columns that a schema wants, by name; without names in the file, by their place.
    /// - Parameter needsLabel: refuse a file without the label.
    init(
        _ sample: TableSample, _ schema: Schema, _ options: DatasetOptions, needsLabel: Bool
    ) throws(DeMLError) {
        guard case .table(let wanted) = schema.features else {
            self = try TablePlan(unnamed: sample, schema, options, needsLabel: needsLabel)
            return
        }
        let names = wanted.map(\.name)
        let targets = schema.targetColumns
        var expected = names + targets
        if expected.allSatisfy({ Int($0) != nil }) { expected = [] }
        header = try sample.header(options, expected: expected)
        kinds = header.names.map { _ in .leftOut }
        features = []
        labels = []
        if header.isNamed || expected.isEmpty, names.allSatisfy(header.names.contains) {
            let places = Dictionary(zip(header.names, 0...)) { first, _ in first }
            features = names.compactMap { places[$0] }
            labels = targets.compactMap { places[$0] }
            if labels.count < targets.count { labels = [] }
        } else if !header.isNamed, header.names.count == names.count {
            features = Array(names.indices)
            isByPosition = true
            decisions.append(
                Decision(
                    "columns",
                    "the file has no names: its \(names.count) columns are taken in the order of the model's",
                    isWarning: Int(names[0]) == nil))
        } else {
            guard header.isNamed else {
                throw DeMLError(
                    .mismatch,
                    "the file has \(header.names.count) columns without names, but the model takes \(names.count): \(Naming.list(names))",
                    hint: "put the names into the first line")
            }
            let absent = names.filter { !header.names.contains($0) }
            let sought = absent.first ?? ""
            throw DeMLError(
                .missing,
                "there is no column \(Naming.list(absent, limit: 5)), which the model takes",
                hint: "the first line has \(Naming.list(header.names, nearest: sought))")
        }
        if labels.isEmpty, needsLabel {
            guard !targets.isEmpty, !isByPosition else {
                throw DeMLError(.missing, "the file has no label", hint: "predict takes files without")
            }
            throw DeMLError(
                .missing, "there is no label column \(Naming.list(targets))",
                hint: "the first line has \(Naming.list(header.names, nearest: targets[0]))")
        }
        for (feature, place) in zip(wanted, features) {
            if case .category = feature.kind { kinds[place] = .words } else { kinds[place] = .numbers }
        }
        for place in labels {
            switch schema.target {
            case .numbers: kinds[place] = .exactNumbers
            case .classes(let classes, _):
                // Names are words unless every one of them is a number.
                kinds[place] = classes.allSatisfy { NumberText.number($0) != nil } ? .exactNumbers : .words
                if header.classNames != nil || sample.areNumbers(place, skipping: header.isPresent) {
                    kinds[place] = .exactNumbers
                }
            }
        }
        if let name = options.groupColumn, let place = header.names.firstIndex(of: name) {
            group = place
            kinds[place] = .words
        }
        let unused = header.names.indices.filter { kinds[$0] == .leftOut }.map { header.names[$0] }
        if !unused.isEmpty {
            decisions.append(Decision("not used", Naming.list(unused, limit: 8)))
        }
    }
}

extension TablePlan {
    /// A table of the numbers of examples that have no names: pixels in a row, and a label perhaps.
    fileprivate init(
        unnamed sample: TableSample, _ schema: Schema, _ options: DatasetOptions, needsLabel: Bool
    ) throws(DeMLError) {
        let size = schema.inputShape.reduce(1, *)
        header = try sample.header(options, expected: [])
        let names = header.names
        kinds = names.map { _ in .leftOut }
        labels = []
        features = []
        isByPosition = true
        if let text = options.labelColumn ?? names.first(where: { $0.lowercased() == "label" }) {
            guard let place = names.firstIndex(of: text) ?? Int(text).flatMap({ names.indices.contains($0) ? $0 : nil })
            else {
                throw DeMLError(
                    .missing, "there is no column \(text.quotedForMessage)",
                    hint: "the first line has \(Naming.list(names, nearest: text))")
            }
            labels = [place]
        }
        guard names.count - labels.count == size else {
            throw DeMLError(
                .shape,
                "the table has \(names.count) columns, but the model takes \(size) numbers, \(schema.inputShape)",
                hint: names.count == size + 1 ? "say by --label-column which one is the label" : nil)
        }
        guard !labels.isEmpty || !needsLabel else {
            throw DeMLError(
                .missing, "the file has no label", hint: "say --label-column NAME; predict takes files without")
        }
        features = names.indices.filter { !labels.contains($0) }
        for place in features { kinds[place] = .numbers }
        for place in labels {
            kinds[place] = sample.areNumbers(place, skipping: header.isPresent) ? .exactNumbers : .words
        }
        decisions.append(
            Decision("columns", "\(size) columns are taken in their order as the \(schema.inputShape) of the model"))
    }
}

extension Schema.Features {
    /// For messages.
    var words: String {
        switch self {
        case .table: "a table"
        case .pixels: "pictures"
        case .numbers: "arrays of numbers"
        case .tokens: "texts"
        }
    }
}

extension TableSample {
    func header(_ options: DatasetOptions, expected: [String]) throws(DeMLError) -> TableHeader {
        if let header { return header }
        return try TableHeader(rows, said: options.header, expected: expected, missing: TablePlan.missing(options))
    }

    func areNumbers(_ column: Int, skipping isHeader: Bool) -> Bool {
        rows.dropFirst(isHeader ? 1 : 0).allSatisfy {
            $0[column].isEmpty || NumberText.number($0[column], decimal: dialect.decimal) != nil
        }
    }
}

/// What the first rows say of a column.
struct ColumnSample {
    let count: Int
    let distinct: Int
    let isWords: Bool
    let areWhole: Bool
    let isSequence: Bool
    let isAllMissing: Bool

    init(_ fields: [String], _ missing: Set<String>, _ decimal: UInt8) {
        let values = fields.filter { !$0.isEmpty && !missing.contains($0) }
        let numbers = values.compactMap { NumberText.number($0, decimal: decimal) }
        count = values.count
        distinct = Set(values).count
        isAllMissing = values.isEmpty
        let words = values.count - numbers.count
        // Numbers and words together are categories where they are few; else a number is expected, and the word an error.
        isWords =
            words > 0
            && (numbers.isEmpty || (distinct <= TablePlan.maximumMixed && distinct * 2 <= values.count))
        areWhole = words == 0 && !numbers.isEmpty && numbers.allSatisfy { $0 == $0.rounded() }
        let start = numbers.first ?? 0
        isSequence =
            words == 0 && numbers.count == fields.count && (start == 0 || start == 1)
            && numbers.enumerated().allSatisfy { Double($0.offset) + start == $0.element }
    }

    /// Words or whole numbers, each of which comes more than once on average. A single word will do: the first rows of a table
    /// that is sorted by class have one.
    var mayBeClasses: Bool {
        (isWords || areWhole) && distinct >= (isWords ? 1 : 2) && distinct <= TablePlan.maximumCategories
            && distinct * 2 <= count
    }
}
