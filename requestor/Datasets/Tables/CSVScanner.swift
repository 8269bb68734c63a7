import CKernels
import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Cuts a piece of text into fields: RFC 4180 with any separator, any line end (LF, CR LF, CR), and spaces around fields.
struct CSVScanner {
    /// Where a field lies: without quotes and surrounding spaces.
    typealias Field = deml_text_field

    enum End {
        case separator, line
        /// The piece ends before the field does.
        case incomplete
        case openQuote, textAfterQuote
    }

    let base: UnsafePointer<UInt8>
    let count: Int
    let separator: UInt8
    /// Nothing follows this piece.
    let isLast: Bool
    var position: Int
    /// Line breaks passed within quotes.
    var innerLines = 0
    /// For each byte: whether a plain field ends before it.
    private let stops: UnsafePointer<Bool>
    /// A bit for each of the 64 bytes from `window` on that a plain field may end before; those passed are forgotten.
    private var marks: UInt64 = 0
    private var window: Int
    private let separators: UInt64

    init(
        _ base: UnsafePointer<UInt8>, _ count: Int, from position: Int, separator: UInt8, stops: UnsafePointer<Bool>,
        isLast: Bool
    ) {
        self.base = base
        self.count = count
        self.separator = separator
        self.stops = stops
        self.isLast = isLast
        self.position = position
        window = position - 64
        separators = EightBytes.all(separator)
    }

    /// The table that ``init(_:_:from:separator:stops:isLast:)`` needs; to be deallocated by the caller.
    static func stops(_ separator: UInt8) -> UnsafeMutablePointer<Bool> {
        let stops = UnsafeMutablePointer<Bool>.allocate(capacity: 256)
        stops.initialize(repeating: false, count: 256)
        for byte in [separator, 0x0a, 0x0d] { stops[Int(byte)] = true }
        if separator == 0x20 { stops[0x09] = true }
        return stops
    }

    /// Steps over line ends; returns how many lines they ended. Nil where the piece ends.
    mutating func skipEmptyLines() -> Int? {
        var lines = 0
        while position < count {
            let byte = base[position]
            if byte == 0x0d {
                if position + 1 == count, !isLast { return nil }
                position += position + 1 < count && base[position + 1] == 0x0a ? 2 : 1
            } else if byte == 0x0a {
                position += 1
            } else {
                return lines
            }
            lines += 1
        }
        return isLast ? lines : nil
    }

    @inline(__always)
    private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte == 0x09 && separator != 0x09) }

    /// The next field; stands behind its separator or line end afterwards.
    mutating func next(_ field: inout Field) -> End {
        while position < count, isSpace(base[position]) { position &+= 1 }
        if position < count, base[position] == CSVDialect.quote { return quoted(&field) }
        let start = position
        var end = nextStop()
        if end == count, !isLast { return .incomplete }
        position = end
        while end > start, isSpace(base[end &- 1]) { end &-= 1 }
        field = Field(start, end)
        return ended()
    }

    /// The first byte from the position on that a plain field ends before; ``count`` where there is none. 64 bytes are looked
    /// at together, and what was found is kept for the fields that follow.
    @inline(__always)
    private mutating func nextStop() -> Int {
        let passed = position &- window
        if passed < 64 {
            marks &= ~0 &<< UInt64(truncatingIfNeeded: passed)
        } else {
            window = position
            marks = findMarks(from: window)
        }
        while marks == 0 {
            window &+= 64
            guard window < count else { return count }
            marks = findMarks(from: window)
        }
        return window &+ marks.trailingZeroBitCount
    }

    private func findMarks(from start: Int) -> UInt64 {
        var marks: UInt64 = 0
        guard start &+ 64 <= count, separator != 0x20 else {
            for place in start..<max(start, min(start &+ 64, count)) where stops[Int(base[place])] {
                marks |= 1 &<< UInt64(truncatingIfNeeded: place &- start)
            }
            return marks
        }
        let text = UnsafeRawPointer(base + start)
        for step in 0..<8 {
            let word = EightBytes.load(text + step &* 8)
            let others =
                EightBytes.nonzeroBytes(word ^ separators) & EightBytes.nonzeroBytes(word ^ EightBytes.all(0x0a))
                & EightBytes.nonzeroBytes(word ^ EightBytes.all(0x0d))
            marks |= EightBytes.bits(~others) &<< UInt64(truncatingIfNeeded: step &* 8)
        }
        return marks
    }

    private mutating func quoted(_ field: inout Field) -> End {
        position &+= 1
        let start = position
        var isEscaped = false
        while true {
            while position < count, base[position] != CSVDialect.quote {
                if base[position] == 0x0a { innerLines += 1 }
                position &+= 1
            }
            guard position < count else { return isLast ? .openQuote : .incomplete }
            if position &+ 1 == count, !isLast { return .incomplete }
            if position &+ 1 < count, base[position &+ 1] == CSVDialect.quote {
                isEscaped = true
                position &+= 2
                continue
            }
            break
        }
        field = Field(start, position, isEscaped: isEscaped)
        position &+= 1
        while position < count, isSpace(base[position]), !(separator == 0x20 && stops[Int(base[position])]) {
            position &+= 1
        }
        if position == count, !isLast { return .incomplete }
        guard position == count || stops[Int(base[position])] else { return .textAfterQuote }
        return ended()
    }

    /// Steps over what ends a field.
    @inline(__always)
    private mutating func ended() -> End {
        if separator == 0x20 {
            // Spaces before a line end belong to it.
            while position < count, base[position] == 0x20 || base[position] == 0x09 { position &+= 1 }
            if position == count { return isLast ? .line : .incomplete }
            if base[position] != 0x0a, base[position] != 0x0d { return .separator }
        }
        if position == count { return .line }
        let byte = base[position]
        if byte == 0x0d {
            if position &+ 1 == count, !isLast { return .incomplete }
            position &+= position &+ 1 < count && base[position &+ 1] == 0x0a ? 2 : 1
            return .line
        }
        position &+= 1
        return byte == 0x0a ? .line : .separator
    }

    func content(_ field: Field) -> [UInt8] { field.content(base) }
}

extension deml_text_field {
    private static let escaped: UInt32 = 1 << 31

    /// - Parameter isEscaped: there are doubled quotes in it.
    init(_ start: Int, _ end: Int, isEscaped: Bool = false) {
        self.init(
            start: UInt32(truncatingIfNeeded: start),
            end: UInt32(truncatingIfNeeded: end) | (isEscaped ? Self.escaped : 0))
    }

    var isEscaped: Bool { end & Self.escaped != 0 }
    var first: Int { Int(start) }
    var count: Int { Int(end & ~Self.escaped) &- Int(start) }

    /// The bytes of a field of the text at `base`, doubled quotes made single.
    func content(_ base: UnsafePointer<UInt8>) -> [UInt8] {
        let bytes = UnsafeBufferPointer(start: base + first, count: count)
        guard isEscaped else { return Array(bytes) }
        var content: [UInt8] = []
        var index = 0
        while index < bytes.count {
            content.append(bytes[index])
            index += bytes[index] == CSVDialect.quote ? 2 : 1
        }
        return content
    }
}

/// A text that can be read from its beginning more than once: bytes in memory, or a file that is read piece by piece.
struct TextSource {
    private enum Content {
        case bytes([UInt8])
        case file(String, maximumBytes: Int)
    }

    private let content: Content

    init(bytes: [UInt8]) { content = .bytes(Self.decoded(bytes)) }

    /// A file, gzip-compressed or not. A compressed one is expanded in memory.
    init(path: String, maximumBytes: Int) throws(DeMLError) {
        let start = try Files.prefix(of: path, count: 4)
        if Gzip.isGzip(start) {
            let bytes = try Files.read(path, maximumBytes: maximumBytes)
            content = .bytes(Self.decoded(try Gzip.decompress(bytes, maximumBytes: maximumBytes)))
        } else if Self.isUTF16(start) {
            content = .bytes(Self.decoded(try Files.read(path, maximumBytes: maximumBytes)))
        } else {
            content = .file(path, maximumBytes: maximumBytes)
        }
    }

    private static func isUTF16(_ bytes: [UInt8]) -> Bool {
        bytes.starts(with: [0xff, 0xfe]) || bytes.starts(with: [0xfe, 0xff])
    }

    /// UTF-16 with a byte order mark, as spreadsheets write it, becomes UTF-8.
    private static func decoded(_ bytes: [UInt8]) -> [UInt8] {
        guard isUTF16(bytes) else { return bytes }
        let isLittle = bytes[0] == 0xff
        var units: [UInt16] = []
        for index in stride(from: 2, to: bytes.count - 1, by: 2) {
            let (first, second) = (UInt16(bytes[index]), UInt16(bytes[index + 1]))
            units.append(isLittle ? second << 8 | first : first << 8 | second)
        }
        return Array(String(decoding: units, as: UTF16.self).utf8)
    }

    private static let pieceBytes = 1 << 20
    private static let longestLine = 256 << 20

    /// Gives the text piece by piece. `body` says how many bytes it has used; the rest comes again with what follows. It
    /// stops where `body` returns nil.
    func eachPiece(
        _ body: (UnsafeRawBufferPointer, _ isLast: Bool) throws(DeMLError) -> Int?
    ) throws(DeMLError) {
        switch content {
        case .bytes(let bytes):
            try bytes[...].withBytes { (all: UnsafeRawBufferPointer) throws(DeMLError) in
                var rest = Self.withoutMark(all)
                var size = Self.pieceBytes
                while true {
                    let isLast = rest.count <= size
                    let piece = isLast ? rest : UnsafeRawBufferPointer(rebasing: rest[..<size])
                    guard let used = try body(piece, isLast), !isLast else { return }
                    if used == 0 {
                        guard size < Self.longestLine else {
                            throw DeMLError(.tooLarge, "a line is longer than \(Self.longestLine >> 20) MiB")
                        }
                        size *= 2
                    } else {
                        rest = UnsafeRawBufferPointer(rebasing: rest[used...])
                        size = Self.pieceBytes
                    }
                }
            }
        case .file(let path, let maximumBytes):
            let file = try SequentialFile(path, maximumBytes: maximumBytes)
            var capacity = min(Self.pieceBytes, file.size + 1)
            var room = UnsafeMutableRawBufferPointer.allocate(byteCount: max(capacity, 16), alignment: 64)
            capacity = room.count
            defer { room.deallocate() }
            var filled = 0
            var isFirst = true
            while true {
                let got = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: room[filled...]))
                filled += got
                let isLast = filled < capacity
                var piece = UnsafeRawBufferPointer(rebasing: room[..<filled])
                if isFirst { piece = Self.withoutMark(piece) }
                guard let used = try body(piece, isLast), !isLast else { return }
                let mark = filled - piece.count
                isFirst = isFirst && used == 0
                let consumed = isFirst ? 0 : mark + used
                if consumed == 0 {
                    guard capacity < Self.longestLine else {
                        throw DeMLError(.tooLarge, "a line is longer than \(Self.longestLine >> 20) MiB", place: path)
                    }
                    let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity * 2, alignment: 64)
                    larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: room[..<filled]))
                    room.deallocate()
                    room = larger
                    capacity *= 2
                } else {
                    memmove(room.baseAddress!, room.baseAddress! + consumed, filled - consumed)
                    filled -= consumed
                }
            }
        }
    }

    private static func withoutMark(_ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        text.starts(with: [0xef, 0xbb, 0xbf]) ? UnsafeRawBufferPointer(rebasing: text[3...]) : text
    }
}
