import Tensors

/// A file of a table.
struct TableFile {
    /// Empty where there is only one.
    var path: String
    var text: TextSource
}

/// A file as it is read into a table.
struct TableInput {
    let file: TableFile
    let dialect: CSVDialect
    /// For each column of the file that of the table.
    let places: [Int]
    let skipsFirstRow: Bool
}

/// The first rows of one or several files that are one table. Several are put together by the names of their columns, which
/// are the same in all of them, in any order.
struct TableFilesSample {
    /// Of all files, as if they were one written like the first.
    private(set) var sample: TableSample
    private let files: [TableFile]
    private var dialects: [CSVDialect] = []
    private var places: [[Int]] = []

    init(_ files: [TableFile], _ options: DatasetOptions) throws(DeMLError) {
        self.files = files
        guard let first = files.first else { throw DeMLError(.internal, "a table has a file") }
        sample = try Self.read(first, options)
        dialects = [sample.dialect]
        guard files.count > 1 else { return }

        let header = try Self.header(sample, first, options, expected: [options.labelColumn ?? ""])
        let names = header.names
        sample.header = header
        places = [Array(names.indices)]
        // As many of each, so that a value or a class that one file does not have is seen in another.
        let most = max(1, TableSample.rowLimit / files.count)
        sample.rows = Array(sample.rows.prefix(1 + most))
        for file in files.dropFirst() {
            let other = try Self.read(file, options)
            let found = try Self.header(other, file, options, expected: names).names
            try Self.attempt(file) { () throws(DeMLError) -> Void in
                try Self.checkNames(found, names, Files.name(of: first.path))
            }
            sample.ambiguousComma = sample.ambiguousComma ?? other.ambiguousComma
            let order = Dictionary(zip(names, names.indices)) { first, _ in first }
            let places = found.compactMap { order[$0] }
            self.places.append(places)
            dialects.append(other.dialect)
            for row in other.rows.dropFirst().prefix(most) {
                var fields = [String](repeating: "", count: names.count)
                for (field, place) in zip(row, places) {
                    fields[place] = field.withDecimal(of: sample.dialect, from: other.dialect)
                }
                sample.rows.append(fields)
            }
        }
    }

    /// The files as they are read, their first rows being names where the plan says so.
    func inputs(_ header: TableHeader) -> [TableInput] {
        files.indices.map { index in
            TableInput(
                file: files[index], dialect: dialects[index],
                places: files.count == 1 ? Array(header.names.indices) : places[index], skipsFirstRow: header.isPresent)
        }
    }

    private static func read(_ file: TableFile, _ options: DatasetOptions) throws(DeMLError) -> TableSample {
        try attempt(file) { () throws(DeMLError) -> TableSample in
            try TableSample(file.text, separator: options.separator, decimal: options.decimal)
        }
    }

    private static func header(
        _ sample: TableSample, _ file: TableFile, _ options: DatasetOptions, expected: [String]
    ) throws(DeMLError) -> TableHeader {
        try attempt(file) { () throws(DeMLError) -> TableHeader in
            let header = try TableHeader(
                sample.rows, said: options.header, expected: expected, missing: TablePlan.missing(options))
            guard header.isPresent, header.isNamed, header.classNames == nil else {
                throw DeMLError(
                    .mismatch, "its first line holds no names, by which the columns of several files are put together",
                    hint: "put names into the first line of each file, or give one file")
            }
            return header
        }
    }

    private static func checkNames(_ found: [String], _ wanted: [String], _ first: String) throws(DeMLError) {
        if let absent = wanted.first(where: { !found.contains($0) }) {
            throw DeMLError(
                .mismatch, "there is no column \(absent.quotedForMessage), which \(first) has",
                hint: "the files of a folder are one table; the first line has \(Naming.list(found, nearest: absent))")
        }
        if let more = found.first(where: { !wanted.contains($0) }) {
            throw DeMLError(
                .mismatch, "there is a column \(more.quotedForMessage), which \(first) does not have",
                hint: "the files of a folder are one table; \(first) has \(Naming.list(wanted, nearest: more))")
        }
    }

    /// Runs `body`, and puts the file before the place of its errors.
    static func attempt<Result>(
        _ file: TableFile, _ body: () throws(DeMLError) -> Result
    ) throws(DeMLError) -> Result {
        do throws(DeMLError) { return try body() } catch {
            throw file.path.isEmpty ? error : error.within(file.path)
        }
    }
}

extension String {
    /// A number with the decimal mark of another file.
    fileprivate func withDecimal(of wanted: CSVDialect, from own: CSVDialect) -> String {
        guard wanted.decimal != own.decimal, NumberText.number(self, decimal: own.decimal) != nil else { return self }
        return replacing(String(UnicodeScalar(own.decimal)), with: String(UnicodeScalar(wanted.decimal)))
    }
}

extension DatasetSource {
    /// The label of a table whose test set has all of its columns but one, as competitions give them; nil for other data. What
    /// cannot be read here is refused when it is.
    func labelThatTestLacks(_ options: DatasetOptions) -> String? {
        guard case .table(let files, _)? = train, case .table(let tested, _)? = test else { return nil }
        func names(_ files: [TableFile]) throws(DeMLError) -> [String]? {
            let header = try TableFilesSample(files, options).sample.header(options, expected: [])
            return header.isPresent && header.isNamed && header.classNames == nil ? header.names : nil
        }
        guard let all = try? names(files), let others = try? names(tested), Set(others).isSubset(of: all) else {
            return nil
        }
        let absent = all.filter { !others.contains($0) && !options.ignoredColumns.contains($0) }
        return absent.count == 1 && absent[0] != options.groupColumn ? absent[0] : nil
    }
}
