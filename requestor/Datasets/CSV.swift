import Tensors

/// A table of numbers with one label column, as `mnist_train.csv` has it.
///
/// Fields are separated by commas, semicolons or tabs (told by the first line) and may be quoted (RFC 4180). A first
/// line in which a field outside the label column is no number holds the names of the columns. The label column is the
/// one named, else the one called `label`, else the first.
struct CSVTable {
    let labels: [String]
    /// Rows × features, without the label column.
    let values: [Float]
    let features: Int
    /// Whether all values are whole numbers from 0 to 255, so that they are kept as bytes.
    let areBytes: Bool

    init(_ bytes: [UInt8], labelColumn: String?) throws(DeMLError) {
        self = try bytes[...].withBytes { (text: UnsafeRawBufferPointer) throws(DeMLError) -> CSVTable in
            var parser = CSVParser(text)
            return try CSVTable(&parser, labelColumn: labelColumn)
        }
    }

    private init(_ parser: inout CSVParser, labelColumn: String?) throws(DeMLError) {
        let firstRow = try parser.firstRow()
        guard firstRow.count >= 2 else {
            throw DeMLError(
                .malformed,
                "the first line has \(firstRow.count) field, but a label and at least one number are needed",
                hint: "is it a CSV file?")
        }
        let columns = firstRow.count
        var label = 0
        if let labelColumn {
            guard let index = firstRow.firstIndex(of: labelColumn) else {
                let names = firstRow.prefix(10).map(\.quotedForMessage).joined(separator: ", ")
                throw DeMLError(
                    .missing, "there is no column \(labelColumn.quotedForMessage)", hint: "the first line has \(names)")
            }
            label = index
        } else if let index = firstRow.firstIndex(where: { $0.lowercased() == "label" }) {
            label = index
        }
        let hasHeader =
            labelColumn != nil
            || firstRow.enumerated().contains { $0.offset != label && CSVParser.number($0.element) == nil }
        if !hasHeader { parser.rewind() }

        var labels: [String] = []
        var values: [Float] = []
        // Every field takes two bytes at least, whatever the number of lines promises.
        values.reserveCapacity(min(parser.lineEstimate * (columns - 1), parser.byteCount / 2 + 1))
        var areBytes = true
        while parser.skipEmptyLines() {
            for column in 0..<columns {
                if column == label {
                    let text = try parser.text()
                    guard !text.isEmpty else { throw parser.error("the label is empty") }
                    labels.append(text)
                } else {
                    let field = try parser.number()
                    areBytes = areBytes && field.isByte
                    values.append(field.value)
                }
                try parser.endField(isLast: column == columns - 1, columns: columns)
            }
        }
        guard !labels.isEmpty else { throw DeMLError(.truncated, "the file has no line of numbers") }
        self.labels = labels
        self.values = values
        features = columns - 1
        self.areBytes = areBytes
    }

    /// The examples of one or two tables, in one element type.
    static func examples(_ train: CSVTable, _ test: CSVTable?) -> (train: Tensor, test: Tensor?) {
        let areBytes = train.areBytes && test?.areBytes ?? true
        func tensor(_ table: CSVTable) -> Tensor {
            let shape = [table.labels.count, table.features]
            return areBytes
                ? Tensor(shape: shape, bytes: table.values.map { UInt8($0) })
                : Tensor(shape: shape, floats: table.values)
        }
        return (tensor(train), test.map(tensor))
    }
}

/// The labels of a table as class ids or as numbers to predict.
struct CSVLabels {
    /// The names of the classes where labels are names: sorted, the place being the id.
    let names: [String]?
    private let classes: [Int64]
    private let numbers: [Float]

    var count: Int { max(classes.count, numbers.count) }

    init(_ labels: [String], _ kind: DatasetOptions.Labels) throws(DeMLError) {
        let parsed = labels.map(CSVParser.number)
        let areNumbers = parsed.allSatisfy { $0 != nil }
        let areIds = areNumbers && parsed.allSatisfy { ($0 ?? 0) >= 0 && ($0 ?? 0).rounded() == $0 && ($0 ?? 0) < 1e15 }
        if kind == .numbers || (kind == .automatic && areNumbers && !areIds) {
            guard areNumbers else {
                let index = parsed.firstIndex { $0 == nil } ?? 0
                throw DeMLError(.malformed, "the label \(labels[index].quotedForMessage) is no number")
            }
            names = nil
            classes = []
            numbers = parsed.map { Float($0 ?? 0) }
        } else if areIds {
            names = nil
            classes = parsed.map { Int64($0 ?? 0) }
            numbers = []
        } else {
            let sorted = Set(labels).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            guard sorted.count <= Dataset.maximumClasses else {
                throw DeMLError(
                    .outOfRange, "the label column holds \(sorted.count) different names",
                    hint: "is it the right column? name it")
            }
            let ids = Dictionary(zip(sorted, 0..<Int64(sorted.count))) { first, _ in first }
            names = sorted
            classes = labels.map { ids[$0] ?? 0 }
            numbers = []
        }
    }

    func tensor(_ range: Range<Int>) -> Tensor {
        numbers.isEmpty
            ? Tensor(shape: [range.count], int64s: Array(classes[range]))
            : Tensor(shape: [range.count, 1], floats: Array(numbers[range]))
    }
}

/// Reads fields one after the other, with line and column for errors.
struct CSVParser {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0
    private var line = 1
    private var column = 1
    private var start = 0
    private var separator = UInt8(ascii: ",")

    private static let newline = UInt8(ascii: "\n")
    private static let quote = UInt8(ascii: "\"")
    /// The powers of ten that a Double holds exactly.
    private static let powers: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20,
        1e21, 1e22,
    ]

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { start = 3 }
        position = start
        let firstLine = bytes[start...].prefix { $0 != Self.newline }
        let counts = [UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "\t")].map { separator in
            (separator, firstLine.reduce(0) { $0 + ($1 == separator ? 1 : 0) })
        }
        if let best = counts.max(by: { $0.1 < $1.1 }), best.1 > 0 { separator = best.0 }
    }

    var byteCount: Int { bytes.count }

    var lineEstimate: Int { bytes.reduce(1) { $0 + ($1 == Self.newline ? 1 : 0) } }

    mutating func rewind() {
        position = start
        line = 1
        column = 1
    }

    /// The fields of the first line as texts.
    mutating func firstRow() throws(DeMLError) -> [String] {
        var fields: [String] = []
        guard skipEmptyLines() else { return fields }
        while true {
            fields.append(try text())
            if position == bytes.count { return fields }
            let byte = bytes[position]
            position += 1
            column += 1
            if byte != separator {
                line += 1
                column = 1
                return fields
            }
            guard fields.count < 1 << 20 else { throw error("the line has more than a million fields") }
        }
    }

    /// Moves to the next line with content; false at the end of the file.
    mutating func skipEmptyLines() -> Bool {
        while position < bytes.count, bytes[position] == Self.newline || bytes[position] == 0x0d {
            if bytes[position] == Self.newline { line += 1 }
            position += 1
        }
        column = 1
        return position < bytes.count
    }

    /// A field as text, without quotes and surrounding spaces. Stands at its end afterwards.
    mutating func text() throws(DeMLError) -> String {
        skipSpaces()
        var content: [UInt8] = []
        if position < bytes.count, bytes[position] == Self.quote {
            position += 1
            while true {
                guard position < bytes.count else { throw error("a quoted field has no end") }
                let byte = bytes[position]
                position += 1
                if byte == Self.newline { line += 1 }
                if byte == Self.quote {
                    guard position < bytes.count, bytes[position] == Self.quote else { break }
                    position += 1
                }
                content.append(byte)
            }
            skipSpaces()
            guard isAtEnd else { throw error("text follows a quoted field") }
        } else {
            let begin = position
            while !isAtEnd { position += 1 }
            content = Array(bytes[begin..<position])
            while content.last == 0x20 || content.last == 0x09 { content.removeLast() }
        }
        skipReturn()
        guard content.count <= 1000 else { throw error("a field of \(content.count) bytes is no label") }
        guard let text = String(validating: content, as: UTF8.self) else { throw error("the text is not UTF-8") }
        return text
    }

    /// A number, quoted or not. Stands at the end of the field afterwards.
    mutating func number() throws(DeMLError) -> (value: Float, isByte: Bool) {
        skipSpaces()
        let isQuoted = position < bytes.count && bytes[position] == Self.quote
        if isQuoted { position += 1 }
        let begin = position
        // The common case: a few digits and nothing else.
        var small = 0
        while position < bytes.count, position - begin < 6, bytes[position] &- 0x30 <= 9 {
            small = small * 10 + Int(bytes[position] &- 0x30)
            position += 1
        }
        if position > begin, isAtEnd, !isQuoted {
            skipReturn()
            return (Float(small), small <= 255)
        }
        while !isAtEnd, bytes[position] != Self.quote { position += 1 }
        var end = position
        while end > begin, bytes[end - 1] == 0x20 || bytes[end - 1] == 0x09 { end -= 1 }
        let field = UnsafeRawBufferPointer(rebasing: bytes[begin..<end])
        guard let value = Self.number(field) else {
            let text = String(decoding: field.prefix(100), as: UTF8.self)
            throw error(field.isEmpty ? "the field is empty" : "\(text.quotedForMessage) is no number")
        }
        guard Float(value).isFinite else { throw error("the number is too large", .notFinite) }
        if isQuoted {
            guard position < bytes.count, bytes[position] == Self.quote else {
                throw error("a quoted field has no end")
            }
            position += 1
            skipSpaces()
            guard isAtEnd else { throw error("text follows a quoted field") }
        }
        skipReturn()
        return (Float(value), value >= 0 && value <= 255 && value == value.rounded() && value.sign == .plus)
    }

    /// Steps over the separator or the end of the line behind a field.
    mutating func endField(isLast: Bool, columns: Int) throws(DeMLError) {
        let isSeparator = position < bytes.count && bytes[position] == separator
        guard isSeparator != isLast else {
            throw error(
                isLast ? "the line has more than \(columns) fields" : "the line has \(column) of \(columns) fields")
        }
        if position < bytes.count { position += 1 }
        if isLast {
            line += 1
            column = 1
        } else {
            column += 1
        }
    }

    func error(_ what: String, _ code: DeMLError.Code = .malformed) -> DeMLError {
        DeMLError(code, what, place: "line \(line), column \(column)")
    }

    static func number(_ text: String) -> Double? {
        var text = text
        return text.withUTF8 { number(UnsafeRawBufferPointer($0)) }
    }

    /// A decimal number: sign, digits with a point, exponent; correctly rounded. No NaN, no infinity, no hexadecimal.
    static func number(_ field: UnsafeRawBufferPointer) -> Double? {
        var index = 0
        var isNegative = false
        if index < field.count, field[index] == UInt8(ascii: "-") || field[index] == UInt8(ascii: "+") {
            isNegative = field[index] == UInt8(ascii: "-")
            index += 1
        }
        var mantissa: UInt64 = 0
        var digits = 0
        var significant = 0
        var exponent = 0
        var hasPoint = false
        while index < field.count {
            let byte = field[index]
            if byte == UInt8(ascii: "."), !hasPoint {
                hasPoint = true
            } else if byte &- 0x30 <= 9 {
                digits += 1
                if significant > 0 || byte != 0x30 { significant += 1 }
                if significant <= 18 {
                    mantissa = mantissa * 10 + UInt64(byte &- 0x30)
                    if hasPoint { exponent -= 1 }
                }
            } else {
                break
            }
            index += 1
        }
        guard digits > 0, field.count <= 400 else { return nil }
        if index < field.count, field[index] | 0x20 == UInt8(ascii: "e") {
            index += 1
            var isSmall = false
            if index < field.count, field[index] == UInt8(ascii: "-") || field[index] == UInt8(ascii: "+") {
                isSmall = field[index] == UInt8(ascii: "-")
                index += 1
            }
            let begin = index
            var power = 0
            while index < field.count, field[index] &- 0x30 <= 9 {
                power = min(power * 10 + Int(field[index] &- 0x30), 100_000)
                index += 1
            }
            guard index > begin else { return nil }
            exponent += isSmall ? -power : power
        }
        guard index == field.count else { return nil }
        // Exact in one rounding: Clinger, "How to read floating point numbers accurately", 1990.
        if significant <= 18, mantissa <= 1 << 53, abs(exponent) <= 22 {
            let value = exponent < 0 ? Double(mantissa) / powers[-exponent] : Double(mantissa) * powers[exponent]
            return isNegative ? -value : value
        }
        return Double(String(decoding: field, as: UTF8.self))
    }

    private var isAtEnd: Bool {
        position == bytes.count || bytes[position] == separator || bytes[position] == Self.newline
            || (bytes[position] == 0x0d && (position + 1 == bytes.count || bytes[position + 1] == Self.newline))
    }

    private mutating func skipSpaces() {
        while position < bytes.count, bytes[position] == 0x20 || (bytes[position] == 0x09 && separator != 0x09) {
            position += 1
        }
    }

    /// The return of a line that ends in CR LF.
    private mutating func skipReturn() {
        if position < bytes.count, bytes[position] == 0x0d { position += 1 }
    }
}
