import Tensors

/// A table as a plan has it read: its columns by what they are for.
struct TableContent {
    let rows: Int
    /// Of each file.
    let fileRows: [Int]
    let features: [TableColumn]
    /// Empty where the file has no labels.
    let labels: [TableColumn]
    let group: TableColumn?
    let header: TableHeader
    let dialect: CSVDialect
    private(set) var decisions: [Decision]

    /// - Parameters:
    ///   - schema: to obey; nil to decide.
    ///   - needsLabel: with a schema: refuse a file without labels.
    ///   - role: of the file, where there is no schema.
    init(
        _ files: [TableFile], _ options: DatasetOptions, schema: Schema?, needsLabel: Bool,
        role: TablePlan.Role = .featuresAndLabel
    ) throws(DeMLError) {
        let samples = try TableFilesSample(files, options)
        let sample = samples.sample
        var plan: TablePlan
        if let schema {
            plan = try TablePlan(sample, schema, options, needsLabel: needsLabel)
        } else {
            plan = try TablePlan(sample, options, role)
        }
        let missing = Set(TablePlan.missing(options).map { Array($0.utf8) })
        func read(_ kinds: [TableColumn.Kind]) throws(DeMLError) -> Table {
            try Table(samples.inputs(plan.header), names: plan.header.names, kinds: kinds, missing: missing)
        }
        var table = try read(plan.kinds)
        // A word among numbers further down than the sample reaches: the column is read again as words.
        let contradicted = table.columns.indices.filter { table.columns[$0].firstWord != nil }
        var mixed: [Int: TableColumn.Field] = [:]
        for index in contradicted {
            let column = table.columns[index]
            let isLabel = plan.labels.contains(index)
            let mayBeWords = isLabel ? options.labels != .numbers && plan.labels.count == 1 : schema == nil
            guard let word = column.firstWord, mayBeWords else {
                throw Self.noNumber(column, files)
            }
            plan.kinds[index] = .words
            if !isLabel { mixed[index] = word }
        }
        if !contradicted.isEmpty { table = try read(plan.kinds) }
        for (index, _) in mixed {
            let column = table.columns[index]
            guard !column.words.isFull, column.words.count <= TablePlan.maximumMixed,
                column.words.count * 2 <= table.rows
            else { throw Self.noNumber(column, files, word: mixed[index]) }
            plan.decisions.append(
                Decision(
                    "mixed", "\(column.name.quotedForMessage) holds numbers and words: \(column.words.count) categories"
                ))
        }
        rows = table.rows
        fileRows = table.fileRows
        guard rows > 0 else { throw DeMLError(.truncated, "the file has no line of values") }
        for (index, column) in table.columns.enumerated() {
            if let number = column.firstLargeNumber {
                throw DeMLError(
                    .notFinite, "the number \(number.text.quotedForMessage) is too large",
                    place: Self.place(number, column, files))
            }
            guard plan.features.contains(index), column.kind == .words, schema == nil else { continue }
            let tooMany = column.words.isFull || column.words.count > TablePlan.maximumCategories
            guard !tooMany else {
                let count = column.words.isFull ? "more than \(WordList.maximumCount)" : "\(column.words.count)"
                throw DeMLError(
                    .outOfRange,
                    "the column \(column.name.quotedForMessage) has \(count) different texts, too many for categories",
                    hint: "leave it out by --ignore-columns \(column.name)")
            }
        }
        features = plan.features.map { [columns = table.columns] in columns[$0] }
        var labels = plan.labels.map { [columns = table.columns] in columns[$0] }
        decisions = plan.decisions
        for label in labels {
            guard let row = label.firstMissingRow else { continue }
            if schema == nil || needsLabel {
                throw DeMLError(
                    .missing, "the label is empty in row \(row), the first row being 0",
                    place: "column \(label.name.quotedForMessage)",
                    hint: "leave such rows away, or give them a label")
            }
            decisions.append(Decision("label", "\(label.missing) of \(rows) rows have none: not compared"))
            labels = []
            break
        }
        self.labels = labels
        group = plan.group.map { [columns = table.columns] in columns[$0] }
        if let row = group?.firstMissingRow {
            throw DeMLError(
                .missing,
                "the column \((group?.name ?? "").quotedForMessage), which says the client, is empty in row \(row)")
        }
        header = plan.header
        dialect = sample.dialect
    }

    private static func place(_ field: TableColumn.Field, _ column: TableColumn, _ files: [TableFile]) -> String {
        let place = "line \(field.line), column \(column.name.quotedForMessage)"
        let path = files[field.file].path
        return path.isEmpty ? place : "\(path): \(place)"
    }

    private static func noNumber(
        _ column: TableColumn, _ files: [TableFile], word: TableColumn.Field? = nil
    ) -> DeMLError {
        let word = word ?? column.firstWord ?? TableColumn.Field(text: "", line: 0, file: 0)
        return DeMLError(
            .malformed, "\(word.text.quotedForMessage) is no number", place: place(word, column, files),
            hint: "if it stands for a missing value say --missing-values '\(word.text)'; if the column has categories"
                + " --category-columns '\(column.name)'")
    }
}

/// Which rows are the test set.
struct RowSplit {
    /// For each row its place in the training set, or -1 - its place in the test set.
    let places: [Int32]
    let trainRows: [Int]
    let testRows: [Int]

    /// All rows are training rows.
    init(all count: Int) {
        places = (0..<Int32(count)).map { $0 }
        trainRows = Array(0..<count)
        testRows = []
    }

    /// A part drawn with the seed is the test set; both parts keep the order of the source.
    init(_ count: Int, fraction: Double, seed: UInt64) throws(DeMLError) {
        guard fraction > 0 else {
            self = RowSplit(all: count)
            return
        }
        guard fraction < 1, count >= 2 else {
            throw DeMLError(
                .usage, "\(fraction) of \(count) examples cannot be set apart for a test",
                hint: "give a dataset with a test set, or a fraction between 0 and 1")
        }
        let testCount = min(max(1, Int((Double(count) * fraction).rounded())), count - 1)
        var generator = SeededGenerator(seed: seed, purpose: "test-split")
        var places = [Int32](repeating: 0, count: count)
        for row in generator.permutation(count)[..<testCount] { places[row] = -1 }
        var trainRows: [Int] = []
        var testRows: [Int] = []
        trainRows.reserveCapacity(count - testCount)
        testRows.reserveCapacity(testCount)
        for row in 0..<count {
            if places[row] == 0 {
                places[row] = Int32(trainRows.count)
                trainRows.append(row)
            } else {
                places[row] = -1 - Int32(testRows.count)
                testRows.append(row)
            }
        }
        self = RowSplit(places: places, trainRows: trainRows, testRows: testRows)
    }

    private init(places: [Int32], trainRows: [Int], testRows: [Int]) {
        self.places = places
        self.trainRows = trainRows
        self.testRows = testRows
    }
}
