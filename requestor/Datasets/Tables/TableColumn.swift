import Tensors

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

    let name: String
    let kind: Kind
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
    /// The first field that is no number, and its line.
    private(set) var firstWord: (text: String, line: Int)?
    private(set) var firstLargeNumber: (text: String, line: Int)?
    private(set) var firstOverflow: (text: String, line: Int)?
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

    // MARK: Filling

    /// Takes the fields of some rows.
    /// - Parameters:
    ///   - fields: `rows` of them, `stride` apart.
    ///   - lines: where each row begins.
    func append(
        _ scanner: borrowing CSVScanner, _ fields: UnsafePointer<CSVScanner.Field>, stride: Int, count rows: Int,
        lines: UnsafePointer<Int>, decimal: UInt8, missing words: Set<[UInt8]>
    ) {
        switch kind {
        case .leftOut: count &+= rows
        case .numbers, .exactNumbers:
            for row in 0..<rows { appendNumber(scanner, fields[row &* stride], lines[row], decimal, words) }
        case .words:
            for row in 0..<rows { appendWord(scanner, fields[row &* stride], lines[row], words) }
        }
    }

    @inline(__always)
    private func appendNumber(
        _ scanner: borrowing CSVScanner, _ field: CSVScanner.Field, _ line: Int, _ decimal: UInt8,
        _ missing: Set<[UInt8]>
    ) {
        guard let value = NumberText.number(scanner.base + field.start, field.end &- field.start, decimal: decimal)
        else {
            if field.start != field.end {
                let text = scanner.content(field)
                if !missing.contains(text), firstWord == nil {
                    firstWord = (String(decoding: text.prefix(200), as: UTF8.self), line)
                }
            }
            noteMissing()
            if kind == .exactNumbers { exact.append(.nan) } else { store(Float.nan.bitPattern) }
            return
        }
        if value < minimum { minimum = value }
        if value > maximum { maximum = value }
        if areWhole, value != value.rounded() || (value == 0 && value.sign == .minus) { areWhole = false }
        if kind == .exactNumbers {
            count &+= 1
            exact.append(value)
            return
        }
        if !hasOrigin {
            hasOrigin = true
            if abs(value) >= 1_048_576 { origin = value }
        }
        let stored = Float(value - origin)
        if !stored.isFinite || !Float(value).isFinite, firstLargeNumber == nil {
            firstLargeNumber = (String(decoding: scanner.content(field), as: UTF8.self), line)
        }
        store(stored.bitPattern)
    }

    private func appendWord(
        _ scanner: borrowing CSVScanner, _ field: CSVScanner.Field, _ line: Int, _ missing: Set<[UInt8]>
    ) {
        if field.start == field.end {
            noteMissing()
            return store(UInt32(bitPattern: -1))
        }
        var code: Int32?
        if field.isEscaped {
            code = scanner.content(field).withUnsafeBufferPointer { words.code($0) }
        } else {
            code = words.code(UnsafeBufferPointer(start: scanner.base + field.start, count: field.end - field.start))
        }
        guard let code else {
            if firstOverflow == nil {
                firstOverflow = (String(decoding: scanner.content(field).prefix(60), as: UTF8.self), line)
            }
            return store(UInt32(bitPattern: -1))
        }
        if Int(code) == isMissingWord.count {
            let word = Array(words.word(Int(code)))
            isMissingWord.append(missing.contains(word))
            if firstInvalidText == nil, String(validating: word, as: UTF8.self) == nil { firstInvalidText = line }
        }
        if isMissingWord[Int(code)] {
            noteMissing()
            return store(UInt32(bitPattern: -1))
        }
        store(UInt32(bitPattern: code))
    }

    private func noteMissing() {
        if firstMissingRow == nil { firstMissingRow = count }
        missing &+= 1
        if kind == .exactNumbers { count &+= 1 }
    }

    @inline(__always)
    private func store(_ bits: UInt32) {
        let place = count % pieceRows
        if place == 0 {
            let piece = UnsafeMutablePointer<UInt32>.allocate(capacity: pieceRows)
            pieces.append(piece)
            current = piece
        }
        current?[place] = bits
        count &+= 1
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
        pieces[index]?.deallocate()
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
