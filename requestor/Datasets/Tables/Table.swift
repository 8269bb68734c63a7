import CKernels
import Tensors

/// The beginning of a table: how it is written, and its first rows as texts.
struct TableSample {
    static let rowLimit = 1000
    private static let byteLimit = 1 << 20
    static let maximumColumns = 1 << 18

    var dialect = CSVDialect()
    /// Rows as texts, the first one included, whatever it is. Fields without quotes and surrounding spaces.
    var rows: [[String]] = []
    /// Whether a field of the first rows holds numbers with a comma in them that may be a decimal one.
    var ambiguousComma: String?
    /// What the first row is, where that is known already.
    var header: TableHeader?

    init(_ source: TextSource, separator: UInt8?, decimal: UInt8?) throws(DeMLError) {
        var rows: [[String]] = []
        var dialect = CSVDialect()
        try source.eachPiece { (text, isLast) throws(DeMLError) in
            guard !text.isEmpty else {
                if isLast { return nil }
                return 0
            }
            if text.count < Self.byteLimit, !isLast { return 0 }
            let part = UnsafeRawBufferPointer(rebasing: text.prefix(Self.byteLimit))
            let isWhole = isLast && part.count == text.count
            guard !part.contains(0) else {
                throw DeMLError(
                    .malformed, "the file is neither a table of text nor any other dataset that is known",
                    hint: "known are CSV, IDX, npz, npy, safetensors, and PNG or JPEG pictures")
            }
            dialect.separator = separator ?? CSVDialect.separator(of: part, isWhole: isWhole)
            rows = try Self.rows(part, dialect.separator, isWhole: isWhole)
            return nil
        }
        self.rows = rows
        self.dialect = dialect
        self.dialect.decimal = decimal ?? decimalMark()
    }

    private static func rows(
        _ text: UnsafeRawBufferPointer, _ separator: UInt8, isWhole: Bool
    ) throws(DeMLError) -> [[String]] {
        guard let base = text.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return [] }
        let stops = CSVScanner.stops(separator)
        defer { stops.deallocate() }
        var scanner = CSVScanner(base, text.count, from: 0, separator: separator, stops: stops, isLast: isWhole)
        var rows: [[String]] = []
        var fields = 0
        var line = 1
        var field = CSVScanner.Field()
        while rows.count < rowLimit, fields < 1 << 20, let empty = scanner.skipEmptyLines(),
            scanner.position < text.count
        {
            line += empty
            var row: [String] = []
            while true {
                let end = scanner.next(&field)
                let place = "line \(line + scanner.innerLines), column \(row.count + 1)"
                switch end {
                case .incomplete: return rows
                case .openQuote: throw DeMLError(.malformed, "a quoted field has no end", place: place)
                case .textAfterQuote: throw DeMLError(.malformed, "text follows a quoted field", place: place)
                case .separator, .line: break
                }
                row.append(String(decoding: scanner.content(field).prefix(WordList.longestWord + 1), as: UTF8.self))
                guard row.count <= maximumColumns else {
                    throw DeMLError(.tooLarge, "the line has more than \(maximumColumns) fields", place: "line \(line)")
                }
                if end == .line { break }
            }
            fields += row.count
            line += 1
            rows.append(row)
        }
        return rows
    }

    /// A comma where numbers have one comma, no point, and the comma does not separate fields; else a point.
    private mutating func decimalMark() -> UInt8 {
        var withComma = 0
        var withPoint = 0
        var clear = 0
        for row in rows.dropFirst().prefix(200) {
            for field in row {
                if field.contains("."), NumberText.number(field) != nil { withPoint += 1 }
                guard field.contains(","), NumberText.number(field, decimal: UInt8(ascii: ",")) != nil else { continue }
                withComma += 1
                let parts = field.split(separator: ",", omittingEmptySubsequences: false)
                // "1,234" may be one and a bit, or more than a thousand.
                if parts.count == 2, parts[1].count == 3, parts[0].drop(while: { $0 == "-" }).first != "0" {
                    ambiguousComma = ambiguousComma ?? field
                } else {
                    clear += 1
                }
            }
        }
        guard withComma > 0, withPoint == 0 else {
            if clear > 0 { ambiguousComma = nil }
            return UInt8(ascii: ".")
        }
        if clear > 0 { ambiguousComma = nil }
        return UInt8(ascii: ",")
    }
}

/// A table read whole: every column as what the plan says it is.
final class Table {
    let columns: [TableColumn]
    /// Of each file.
    let fileRows: [Int]

    var rows: Int { fileRows.reduce(0, +) }

    /// - Parameter kinds: of every column of the table.
    init(
        _ inputs: [TableInput], names: [String], kinds: [TableColumn.Kind], missing: Set<[UInt8]>
    ) throws(DeMLError) {
        let kept = kinds.count { $0 != .leftOut }
        let pieceRows = max(16, min(4096, (1 << 21) / max(kept, 1)))
        let memory = PieceMemory()
        let columns = zip(names, kinds).map { TableColumn(name: $0, kind: $1, pieceRows: pieceRows, memory: memory) }
        var fileRows: [Int] = []
        for (number, input) in inputs.enumerated() {
            for column in columns { column.file = number }
            let rows = try TableFilesSample.attempt(input.file) { () throws(DeMLError) -> Int in
                let rows = try Table.read(input, into: columns, missing)
                for column in columns {
                    guard let line = column.firstInvalidText else { continue }
                    throw DeMLError(
                        .malformed, "the text is not UTF-8",
                        place: "line \(line), column \(column.name.quotedForMessage)",
                        hint: "iconv -f latin1 -t utf-8 makes it so")
                }
                return rows
            }
            fileRows.append(rows)
        }
        self.columns = columns
        self.fileRows = fileRows
    }

    /// Gives the rows of a file to the columns; returns how many there are.
    private static func read(
        _ input: TableInput, into columns: [TableColumn], _ missing: Set<[UInt8]>
    ) throws(DeMLError) -> Int {
        let dialect = input.dialect
        let stops = CSVScanner.stops(dialect.separator)
        // Rows are found first, some hundreds of them, and then given to one column after the other.
        let batch = RowBatch(columns: columns.count)
        defer { stops.deallocate() }
        var rows = 0
        var line = 1
        var skips = input.skipsFirstRow
        try input.file.text.eachPiece { (text, isLast) throws(DeMLError) in
            guard let base = text.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return 0 }
            var scanner = CSVScanner(
                base, text.count, from: 0, separator: dialect.separator, stops: stops, isLast: isLast)
            batch.begin(base, text.count)
            var used = 0
            // So many lines are read in the way that can read all, before the faster one is tried again.
            var slowLines = skips ? 1 : 0
            func give() {
                for (index, place) in input.places.enumerated() {
                    columns[place].append(batch, index, decimal: dialect.decimal, missing: missing)
                }
                rows += batch.count
                batch.count = 0
            }
            defer { give() }
            while true {
                if slowLines == 0 {
                    give()
                    let passed = batch.cut(base, text.count, from: scanner.position, dialect.separator, line: line)
                    if batch.count == 0 { slowLines = batch.most }
                    line += batch.count
                    scanner.position += passed
                    give()
                    batch.begin(base, text.count)
                }
                used = scanner.position
                guard let empty = scanner.skipEmptyLines() else { return used }
                line += empty
                used = scanner.position
                guard used < text.count else { return used }
                if slowLines == 0 { continue }
                slowLines -= 1
                if skips {
                    var end = CSVScanner.End.separator
                    while end == .separator { end = scanner.next(&batch.fields[0]) }
                    if end == .incomplete { return used }
                } else {
                    let row = batch.fields + batch.count * columns.count
                    guard try Self.record(&scanner, row, columns.count, line) else { return used }
                    batch.lines[batch.count] = line
                    batch.count += 1
                    if batch.count == batch.most { give() }
                }
                skips = false
                line += 1 + scanner.innerLines
                scanner.innerLines = 0
            }
        }
        return rows
    }

    /// The fields of one line; false where the piece ends before the line does.
    private static func record(
        _ scanner: inout CSVScanner, _ fields: UnsafeMutablePointer<CSVScanner.Field>, _ columns: Int, _ line: Int
    ) throws(DeMLError) -> Bool {
        for index in 0..<columns {
            let end = scanner.next(&fields[index])
            if end == .separator, index < columns - 1 { continue }
            if end == .line, index == columns - 1 { return true }
            if end == .incomplete { return false }
            func error(_ what: String) -> DeMLError {
                DeMLError(.malformed, what, place: "line \(line + scanner.innerLines), column \(index + 1)")
            }
            switch end {
            case .openQuote: throw error("a quoted field has no end")
            case .textAfterQuote: throw error("text follows a quoted field")
            case .line: throw error("the line has \(index + 1) of \(columns) fields")
            default: throw error("the line has more than \(columns) fields")
            }
        }
        return true
    }
}

/// Some rows of a table, of which it is known where their fields are.
final class RowBatch {
    /// Rows that there is room for.
    let most: Int
    let columns: Int
    /// Of one row after the other; where they lie is counted from `text`.
    let fields: UnsafeMutablePointer<CSVScanner.Field>
    /// Where each row begins.
    let lines: UnsafeMutablePointer<Int>
    var count = 0
    private(set) var text: UnsafePointer<UInt8>
    /// Of `text`, to where it may be read.
    private(set) var byteCount = 0
    let isa = deml_isa_default()
    /// The numbers of a column, and which rows have none.
    let numbers: UnsafeMutablePointer<Double>
    let others: UnsafeMutablePointer<UInt32>

    private let room: Int
    private let lineEnds: UnsafeMutablePointer<UInt32>

    init(columns: Int) {
        self.columns = columns
        most = max(1, min(256, 65_536 / max(1, columns)))
        room = columns * most + 64
        fields = .allocate(capacity: room)
        fields.initialize(repeating: CSVScanner.Field(), count: room)
        lineEnds = .allocate(capacity: room)
        lineEnds.initialize(repeating: 0, count: room)
        lines = .allocate(capacity: most)
        lines.initialize(repeating: 0, count: most)
        numbers = .allocate(capacity: most)
        numbers.initialize(repeating: 0, count: most)
        others = .allocate(capacity: most)
        others.initialize(repeating: 0, count: most)
        text = UnsafePointer(UnsafeRawPointer(lines).assumingMemoryBound(to: UInt8.self))
    }

    deinit {
        fields.deallocate()
        lineEnds.deallocate()
        lines.deallocate()
        numbers.deallocate()
        others.deallocate()
    }

    /// Rows of another text follow.
    func begin(_ text: UnsafePointer<UInt8>, _ byteCount: Int) {
        self.text = text
        self.byteCount = byteCount
    }

    /// Takes the rows that begin at a place and are plain: no quotes, no spaces around fields, no empty lines, LF alone, and as
    /// many fields as there are columns. Returns how many bytes they have.
    func cut(
        _ base: UnsafePointer<UInt8>, _ end: Int, from start: Int, _ separator: UInt8, line: Int
    ) -> Int {
        begin(base + start, end - start)
        guard separator != 0x20 else { return 0 }
        var ends = 0
        deml_text_fields(isa, text, byteCount, separator, room, fields, lineEnds, &ends)
        var rows = 0
        while rows < min(ends, most), Int(lineEnds[rows]) == (rows + 1) * columns - 1,
            columns > 1 || fields[rows].count > 0
        {
            lines[rows] = line + rows
            rows += 1
        }
        count = rows
        return rows == 0 ? 0 : Int(fields[rows * columns - 1].end) + 1
    }
}
