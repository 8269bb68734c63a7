import CKernels
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

    private let memory: PieceMemory
    private var pieces: [UnsafeMutablePointer<UInt32>?] = []
    private var current: UnsafeMutablePointer<UInt32>?
    private var hasOrigin = false
    /// Words that were met, by ``ShortWord/slot``, and their codes: most words of a column are the same few.
    private let recent: UnsafeMutablePointer<(word: ShortWord, code: UInt32)>

    init(name: String, kind: Kind, pieceRows: Int, memory: PieceMemory) {
        self.name = name
        self.kind = kind
        self.pieceRows = pieceRows
        self.memory = memory
        recent = .allocate(capacity: kind == .words ? ShortWord.slots : 0)
        if kind == .words { recent.initialize(repeating: (ShortWord(), 0), count: ShortWord.slots) }
    }

    deinit { recent.deallocate() }

    /// Whole numbers from 0 to 255, none missing.
    var areBytes: Bool { areWhole && missing == 0 && minimum >= 0 && maximum <= 255 && firstWord == nil }

    /// Every row is missing.
    var isEmpty: Bool { missing == count }

    // MARK: Filling

    /// Takes the fields of some rows.
    /// - Parameter column: of the batch.
    func append(_ batch: RowBatch, _ column: Int, decimal: UInt8, missing words: Set<[UInt8]>) {
        guard kind != .leftOut else {
            count &+= batch.count
            return
        }
        var row = 0
        while row < batch.count {
            // What fits into a piece.
            let place = count % pieceRows
            if place == 0, kind != .exactNumbers { beginPiece() }
            let end = min(batch.count, row + pieceRows - place)
            switch (kind, current) {
            case (.numbers, let piece?):
                appendNumbers(batch, row..<end, column, decimal, words, piece + place)
            case (.words, let piece?): appendWords(batch, row..<end, column, words, piece + place)
            default:
                readNumbers(batch, row..<end, column, decimal, words)
                exact.append(contentsOf: UnsafeBufferPointer(start: batch.numbers, count: end - row))
            }
            count &+= end &- row
            row = end
        }
    }

    private func appendNumbers(
        _ batch: RowBatch, _ rows: Range<Int>, _ column: Int, _ decimal: UInt8, _ missing: Set<[UInt8]>,
        _ target: UnsafeMutablePointer<UInt32>
    ) {
        let others = readNumbers(batch, rows, column, decimal, missing)
        let numbers = UnsafePointer(batch.numbers)
        if !hasOrigin, let first = (0..<rows.count).first(where: { !numbers[$0].isNaN }) {
            hasOrigin = true
            if abs(numbers[first]) >= 1_048_576 { origin = numbers[first] }
        }
        let origin = self.origin
        for row in 0..<rows.count { target[row] = Float(numbers[row] - origin).bitPattern }
        // Numbers of up to 2^53 are not too large.
        for other in 0..<others where firstLargeNumber == nil {
            let row = Int(batch.others[other])
            let value = numbers[row]
            if !value.isNaN, !Float(bitPattern: target[row]).isFinite || !Float(value).isFinite {
                let field = batch.fields[(rows.lowerBound + row) * batch.columns + column]
                firstLargeNumber = Field(
                    text: String(decoding: field.content(batch.text), as: UTF8.self),
                    line: batch.lines[rows.lowerBound + row], file: file)
            }
        }
    }

    /// The numbers of some rows, as `batch.numbers`, NaN where they are missing; returns how many of them are written in an
    /// uncommon way, or missing: `batch.others`.
    @discardableResult
    private func readNumbers(
        _ batch: RowBatch, _ rows: Range<Int>, _ column: Int, _ decimal: UInt8, _ missing: Set<[UInt8]>
    ) -> Int {
        let fields = UnsafePointer(batch.fields) + (rows.lowerBound * batch.columns + column)
        var range = deml_text_range(minimum: minimum, maximum: maximum, whole: areWhole)
        let others = deml_text_numbers(
            batch.isa, batch.text, fields, batch.columns, rows.count, decimal, batch.numbers, batch.others, &range)
        for other in 0..<others {
            let row = Int(batch.others[other])
            let field = fields[row * batch.columns]
            guard
                let value = NumberText.number(
                    batch.text + field.first, field.count, readable: batch.byteCount &- field.first, decimal: decimal)
            else {
                noteNoNumber(batch, field, missing, row: rows.lowerBound + row, before: rows.lowerBound)
                continue
            }
            batch.numbers[row] = value
            if value < range.minimum { range.minimum = value }
            if value > range.maximum { range.maximum = value }
            if range.whole { range.whole = Self.isWhole(value) }
        }
        (minimum, maximum, areWhole) = (range.minimum, range.maximum, range.whole)
        return others
    }

    /// Whether a number has no fraction and is no -0.
    @inline(__always)
    private static func isWhole(_ value: Double) -> Bool {
        // Beyond that there are no fractions.
        guard abs(value) < 0x1p53 else { return true }
        let whole = Double(Int64(value))
        return whole.bitPattern == value.bitPattern
    }

    /// - Parameters:
    ///   - row: of the batch.
    ///   - before: rows of the batch that are counted already.
    private func noteNoNumber(
        _ batch: RowBatch, _ field: CSVScanner.Field, _ missing: Set<[UInt8]>, row: Int, before: Int
    ) {
        if field.count > 0 {
            let text = field.content(batch.text)
            if firstWord == nil, !missing.contains(text) {
                firstWord = Field(
                    text: String(decoding: text.prefix(200), as: UTF8.self), line: batch.lines[row], file: file)
            }
        }
        noteMissing(row - before)
    }

    private func appendWords(
        _ batch: RowBatch, _ rows: Range<Int>, _ column: Int, _ missing: Set<[UInt8]>,
        _ target: UnsafeMutablePointer<UInt32>
    ) {
        for row in rows {
            let field = batch.fields[row * batch.columns + column]
            let place = row - rows.lowerBound
            guard let short = ShortWord(field, batch) else {
                target[place] = UInt32(bitPattern: code(batch, field, row, missing, place) ?? -1)
                continue
            }
            let slot = recent + short.slot
            if slot.pointee.word == short {
                target[place] = slot.pointee.code
            } else if let code = code(batch, field, row, missing, place) {
                slot.pointee = (short, UInt32(bitPattern: code))
                target[place] = UInt32(bitPattern: code)
            } else {
                target[place] = UInt32(bitPattern: -1)
            }
        }
    }

    /// The number of a word; nil where it stands for a missing value, or there is no room for it.
    /// - Parameter place: of the row, counted from the rows that were there before.
    private func code(
        _ batch: RowBatch, _ field: CSVScanner.Field, _ row: Int, _ missing: Set<[UInt8]>, _ place: Int
    ) -> Int32? {
        if field.count == 0 {
            noteMissing(place)
            return nil
        }
        var code: Int32?
        if field.isEscaped {
            code = field.content(batch.text).withUnsafeBufferPointer { words.code($0) }
        } else {
            code = words.code(UnsafeBufferPointer(start: batch.text + field.first, count: field.count))
        }
        guard let code else { return nil }
        if Int(code) == isMissingWord.count {
            let word = Array(words.word(Int(code)))
            isMissingWord.append(missing.contains(word))
            if firstInvalidText == nil, String(validating: word, as: UTF8.self) == nil {
                firstInvalidText = batch.lines[row]
            }
        }
        if isMissingWord[Int(code)] {
            noteMissing(place)
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
        let piece = memory.allocate(pieceRows * 4).bindMemory(to: UInt32.self, capacity: pieceRows)
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
        memory.release(piece, pieceRows * 4)
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

/// The memory of the pieces of all columns of a table. An allocator would put something of its own before each piece, and keep
/// a page for it, and keep the pages of pieces that are not needed any more, while the examples need as much once more.
final class PieceMemory {
    private static let pageBytes = 4096
    private static let slabBytes = 1 << 20
    private var slabs: [UnsafeMutableRawPointer] = []
    private var place = PieceMemory.slabBytes

    deinit {
        for slab in slabs { slab.deallocate() }
    }

    /// Memory of so many bytes: up to some pages, which are whole where there is more than one.
    func allocate(_ bytes: Int) -> UnsafeMutableRawPointer {
        let alignment = bytes < Self.pageBytes ? 64 : Self.pageBytes
        var start = (place + alignment - 1) & ~(alignment - 1)
        if start + bytes > Self.slabBytes {
            slabs.append(.allocate(byteCount: max(bytes, Self.slabBytes), alignment: Self.pageBytes))
            start = 0
        }
        place = start + bytes
        return slabs[slabs.count - 1] + start
    }

    /// Gives whole pages of what was allocated back to the system.
    func release(_ memory: UnsafeMutableRawPointer, _ bytes: Int) {
        guard bytes >= Self.pageBytes else { return }
        madvise(memory, bytes & ~(Self.pageBytes - 1), MADV_DONTNEED)
    }
}

/// A word of up to 16 bytes, to be compared at once.
private struct ShortWord: Equatable {
    static let slots = 256

    private var start: UInt64 = 0
    private var end: UInt64 = 0
    private var count: UInt64 = 0

    /// Equals no word.
    init() {}

    @inline(__always)
    init?(_ field: CSVScanner.Field, _ batch: RowBatch) {
        let size = field.count
        guard size > 0, size <= 16, !field.isEscaped, batch.byteCount &- field.first >= 16 else { return nil }
        let text = UnsafeRawPointer(batch.text + field.first)
        let (first, second) = (
            text.loadUnaligned(as: UInt64.self), text.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        )
        let free = UInt64(truncatingIfNeeded: 64 &- (size & 7) &* 8)
        // Shifts go by their number's lowest six bits: 64 free bits are none, which is right for eight bytes.
        start = size < 8 ? first &<< free : first
        end = size <= 8 ? 0 : size < 16 ? second &<< free : second
        count = UInt64(truncatingIfNeeded: size)
    }

    @inline(__always)
    var slot: Int {
        let product = (start ^ (end &+ count) &* 0x9e37_79b9_7f4a_7c15) &* 0x9e37_79b9_7f4a_7c15
        return Int(truncatingIfNeeded: product >> 56)
    }
}
