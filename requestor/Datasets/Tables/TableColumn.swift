import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// One column of a table while it is read: numbers in single precision, or numbers of words, in pieces that are given back
/// as soon as they have been used, so that a table and the examples made of it are not in memory together.
final class TableColumn {
    enum Kind: Equatable {
        /// Single precision, relative to ``TableColumn/origin``. NaN where the value is missing.
        case numbers
        /// Double precision, for labels and targets.
        case exactNumbers
        /// A code of ``TableColumn/words``; -1 where the value is missing.
        case words
        case leftOut
    }

    /// A field for a message.
    struct Field {
        var text: String
        var line: Int
        var file: Int
    }

    let name: String
    let kind: Kind
    /// The number of the file that fields come from, where several make a table.
    var file = 0
    /// Rows of a piece.
    let pieceRows: Int

    /// What is added to the stored numbers: large numbers near each other (times, say) keep their differences.
    private(set) var origin = 0.0
    private(set) var words = WordList()
    /// For each word whether it stands for a missing value.
    private var isMissingWord: [Bool] = []
    private(set) var missing = 0
    private(set) var firstMissingRow: Int?
    private(set) var minimum = Double.infinity
    private(set) var maximum = -Double.infinity
    /// All numbers are whole.
    private(set) var areWhole = true
    private(set) var count = 0
    /// The first field that is no number.
    private(set) var firstWord: Field?
    private(set) var firstLargeNumber: Field?
    private(set) var firstInvalidText: Int?
    private(set) var exact: [Double] = []

    private var pieces: [UnsafeMutablePointer<UInt32>?] = []
    private var current: UnsafeMutablePointer<UInt32>?
    private var hasOrigin = false

    init(name: String, kind: Kind, pieceRows: Int) {
        self.name = name
        self.kind = kind
        self.pieceRows = pieceRows
    }

    deinit {
        for piece in pieces { piece?.deallocate() }
    }

    /// Whole numbers from 0 to 255, none missing.
    var areBytes: Bool { areWhole && missing == 0 && minimum >= 0 && maximum <= 255 && firstWord == nil }

    /// Every row is missing.
    var isEmpty: Bool { missing == count }

    private static let pageBytes = 4096

    // MARK: Filling

    /// Takes the fields of some rows.
    /// - Parameters:
    ///   - fields: `rows` of them, `stride` apart.
    ///   - lines: where each row begins.
    func append(
        _ scanner: borrowing CSVScanner, _ fields: UnsafePointer<CSVScanner.Field>, stride: Int, count rows: Int,
        lines: UnsafePointer<Int>, decimal: UInt8, missing words: Set<[UInt8]>
    ) {
        guard kind != .leftOut else {
            count &+= rows
            return
        }
        var row = 0
        while row < rows {
            // What fits into a piece.
            let place = count % pieceRows
            if place == 0, kind != .exactNumbers { beginPiece() }
            let end = min(rows, row + pieceRows - place)
            let stretch = UnsafeBufferPointer(start: fields + row * stride, count: (end - row - 1) * stride + 1)
            switch (kind, current) {
            case (.numbers, let piece?):
                appendNumbers(scanner, stretch, stride, lines + row, decimal, words, piece + place)
            case (.words, let piece?): appendWords(scanner, stretch, stride, lines + row, words, piece + place)
            default: appendExactNumbers(scanner, stretch, stride, lines + row, decimal, words)
            }
            count &+= end &- row
            row = end
        }
    }

    private func appendNumbers(
        _ scanner: borrowing CSVScanner, _ fields: UnsafeBufferPointer<CSVScanner.Field>, _ stride: Int,
        _ lines: UnsafePointer<Int>, _ decimal: UInt8, _ missing: Set<[UInt8]>, _ target: UnsafeMutablePointer<UInt32>
    ) {
        let (base, end) = (scanner.base, scanner.count)
        var range = (minimum: self.minimum, maximum: self.maximum)
        var (areWhole, origin) = (self.areWhole, self.origin)
        var row = 0
        for place in Swift.stride(from: 0, to: fields.count, by: stride) {
            defer { row &+= 1 }
            let field = fields[place]
            guard
                let value = NumberText.number(
                    base + field.start, field.end &- field.start, readable: end &- field.start, decimal: decimal)
            else {
                noteNoNumber(scanner, field, lines[row], missing, row: row)
                target[row] = Float.nan.bitPattern
                continue
            }
            if value < range.minimum { range.minimum = value }
            if value > range.maximum { range.maximum = value }
            if areWhole { areWhole = Self.isWhole(value) }
            if !hasOrigin {
                hasOrigin = true
                if abs(value) >= 1_048_576 { origin = value }
            }
            let stored = Float(value - origin)
            if !stored.isFinite || !Float(value).isFinite, firstLargeNumber == nil {
                firstLargeNumber = Field(
                    text: String(decoding: scanner.content(field), as: UTF8.self), line: lines[row], file: file)
            }
            target[row] = stored.bitPattern
        }
        (minimum, maximum) = range
        (self.areWhole, self.origin) = (areWhole, origin)
    }

    private func appendExactNumbers(
        _ scanner: borrowing CSVScanner, _ fields: UnsafeBufferPointer<CSVScanner.Field>, _ stride: Int,
        _ lines: UnsafePointer<Int>, _ decimal: UInt8, _ missing: Set<[UInt8]>
    ) {
        var row = 0
        for place in Swift.stride(from: 0, to: fields.count, by: stride) {
            defer { row &+= 1 }
            let field = fields[place]
            guard
                let value = NumberText.number(
                    scanner.base + field.start, field.end &- field.start, readable: scanner.count &- field.start,
                    decimal: decimal)
            else {
                noteNoNumber(scanner, field, lines[row], missing, row: row)
                exact.append(.nan)
                continue
            }
            minimum = min(minimum, value)
            maximum = max(maximum, value)
            if areWhole { areWhole = Self.isWhole(value) }
            exact.append(value)
        }
    }

    /// Whether a number has no fraction and is no -0.
    @inline(__always)
    private static func isWhole(_ value: Double) -> Bool {
        // Beyond that there are no fractions.
        guard abs(value) < 0x1p53 else { return true }
        let whole = Double(Int64(value))
        return whole.bitPattern == value.bitPattern
    }

    private func noteNoNumber(
        _ scanner: borrowing CSVScanner, _ field: CSVScanner.Field, _ line: Int, _ missing: Set<[UInt8]>, row: Int
    ) {
        if field.start != field.end {
            let text = scanner.content(field)
            if !missing.contains(text), firstWord == nil {
                firstWord = Field(text: String(decoding: text.prefix(200), as: UTF8.self), line: line, file: file)
            }
        }
        noteMissing(row)
    }

    private func appendWords(
        _ scanner: borrowing CSVScanner, _ fields: UnsafeBufferPointer<CSVScanner.Field>, _ stride: Int,
        _ lines: UnsafePointer<Int>, _ missing: Set<[UInt8]>, _ target: UnsafeMutablePointer<UInt32>
    ) {
        var row = 0
        for place in Swift.stride(from: 0, to: fields.count, by: stride) {
            let number = code(scanner, fields[place], lines[row], missing, row)
            target[row] = UInt32(bitPattern: number ?? -1)
            row &+= 1
        }
    }

    /// The number of a word; nil where it stands for a missing value, or there is no room for it.
    @inline(__always)
    private func code(
        _ scanner: borrowing CSVScanner, _ field: CSVScanner.Field, _ line: Int, _ missing: Set<[UInt8]>, _ row: Int
    ) -> Int32? {
        if field.start == field.end {
            noteMissing(row)
            return nil
        }
        var code: Int32?
        if field.isEscaped {
            code = scanner.content(field).withUnsafeBufferPointer { words.code($0) }
        } else {
            code = words.code(UnsafeBufferPointer(start: scanner.base + field.start, count: field.end - field.start))
        }
        guard let code else { return nil }
        if Int(code) == isMissingWord.count {
            let word = Array(words.word(Int(code)))
            isMissingWord.append(missing.contains(word))
            if firstInvalidText == nil, String(validating: word, as: UTF8.self) == nil { firstInvalidText = line }
        }
        if isMissingWord[Int(code)] {
            noteMissing(row)
            return nil
        }
        return code
    }

    /// - Parameter row: counted from the rows that were there before.
    private func noteMissing(_ row: Int) {
        if firstMissingRow == nil { firstMissingRow = count &+ row }
        missing &+= 1
    }

    private func beginPiece() {
        // From the beginning of a page, so that all of them can be given back.
        let piece = UnsafeMutableRawPointer.allocate(byteCount: pieceRows * 4, alignment: Self.pageBytes)
            .bindMemory(to: UInt32.self, capacity: pieceRows)
        pieces.append(piece)
        current = piece
    }

    // MARK: Using

    /// Texts of the words that are not missing values, by code; those that stand for missing values are nil.
    func wordTexts() -> [String?] {
        (0..<words.count).map { isMissingWord[$0] ? nil : String(decoding: words.word($0), as: UTF8.self) }
    }

    var pieceCount: Int { pieces.count }

    /// The stored numbers of a piece: to be read as floats or codes.
    func withPiece<Result>(_ index: Int, _ body: (UnsafeBufferPointer<UInt32>) -> Result) -> Result {
        let rows = min(pieceRows, count - index * pieceRows)
        return body(UnsafeBufferPointer(start: pieces[index], count: pieces[index] == nil ? 0 : rows))
    }

    /// Gives the memory of a piece back.
    func release(_ index: Int) {
        guard let piece = pieces[index] else { return }
        // The allocator would keep the pages, and the examples need as much once more.
        madvise(piece, pieceRows * 4 / Self.pageBytes * Self.pageBytes, MADV_DONTNEED)
        piece.deallocate()
        pieces[index] = nil
    }

    /// The codes of all rows of a column of words.
    func codes() -> [Int32] {
        var codes: [Int32] = []
        codes.reserveCapacity(count)
        for piece in pieces.indices {
            withPiece(piece) { codes.append(contentsOf: $0.lazy.map { Int32(bitPattern: $0) }) }
        }
        return codes
    }
}
