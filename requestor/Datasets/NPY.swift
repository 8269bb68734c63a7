import Tensors

/// What an array of a file holds: numbers, or texts that are names of classes.
enum SourceArray: Sendable {
    case numbers(Tensor)
    case texts([String], shape: [Int])

    var shape: [Int] {
        switch self {
        case .numbers(let tensor): tensor.shape
        case .texts(_, let shape): shape
        }
    }
}

/// One `.npy` file (numpy.lib.format): magic, version, the header as a Python dictionary, the elements. Every type that
/// numpy writes without pickling: integers and floats of any size and byte order up to 64 bits, booleans, times, texts; in
/// C or Fortran order.
enum NPY {
    private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

    static func isNPY(_ bytes: some Collection<UInt8>) -> Bool { bytes.starts(with: magic) }

    /// Numbers; throws `dtype` for texts.
    static func tensor(_ bytes: ArraySlice<UInt8>) throws(DeMLError) -> Tensor {
        guard case .numbers(let tensor) = try array(bytes) else {
            throw DeMLError(.dtype, "the array holds texts, but numbers are needed")
        }
        return tensor
    }

    static func array(_ bytes: ArraySlice<UInt8>) throws(DeMLError) -> SourceArray {
        let file = ByteReader(bytes)
        guard isNPY(bytes) else {
            throw DeMLError(.malformed, "the array does not begin as an npy file")
        }
        let version = try file.integer(6, 1)
        guard (1...3).contains(version) else {
            throw DeMLError(.malformed, "the version \(version) of the npy format is unknown")
        }
        let sizeBytes = version == 1 ? 2 : 4
        let headerCount = try file.integer(8, sizeBytes)
        let text = try file.slice(8 + sizeBytes, headerCount)
        guard headerCount <= 1 << 16 else { throw DeMLError(.tooLarge, "the npy header has \(headerCount) bytes") }
        var parser = PythonDictionary(text)
        let header = try parser.parse()
        let type = try ElementType(header.descr)
        guard let count = elementCount(of: header.shape), count <= Int.max / max(type.size, 1) else {
            throw DeMLError(.shape, "the shape \(header.shape) is not one of an array that fits in memory")
        }
        var content = bytes.dropFirst(8 + sizeBytes + headerCount)
        guard content.count == count * type.size else {
            throw DeMLError(
                .shape,
                "\(header.descr.quotedForMessage) \(header.shape) needs \(count * type.size) bytes, but there are \(content.count)"
            )
        }
        if type.isBigEndian { content = swapped(content, type.unit)[...] }
        if header.fortranOrder, header.shape.count > 1 { content = inCOrder(content, header.shape, type.size)[...] }
        return try type.array(content, header.shape)
    }

    private static func swapped(_ bytes: ArraySlice<UInt8>, _ size: Int) -> [UInt8] {
        makeArray(count: bytes.count) { target in
            bytes.withUnsafeBytes { source in
                for element in stride(from: 0, to: source.count - size + 1, by: size) {
                    for byte in 0..<size { target[element + byte] = source[element + size - 1 - byte] }
                }
            }
        }
    }

    /// The first index runs fastest in Fortran's order, the last in C's.
    private static func inCOrder(_ bytes: ArraySlice<UInt8>, _ shape: [Int], _ size: Int) -> [UInt8] {
        var strides: [Int] = []
        var step = 1
        for length in shape {
            strides.append(step)
            step *= length
        }
        return ByteRegion(bytes).gathered(width: size, shape: shape, strides: strides)
    }
}

/// `<f4`: byte order, kind, size.
private struct ElementType {
    let kind: UInt8
    let size: Int
    let isBigEndian: Bool

    /// Bytes that are swapped together.
    var unit: Int { kind == UInt8(ascii: "U") ? 4 : kind == UInt8(ascii: "S") ? 1 : size }

    init(_ descr: String) throws(DeMLError) {
        let text = Array(descr.utf8)
        func unsupported(_ hint: String) -> DeMLError {
            DeMLError(.dtype, "the numpy type \(descr.quotedForMessage) is not supported", hint: hint)
        }
        guard text.count >= 2, let order = text.first else { throw unsupported("save it as f4 or i8") }
        let hasOrder = [UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "|"), UInt8(ascii: "=")].contains(order)
        let body = hasOrder ? text.dropFirst() : text[...]
        guard let kind = body.first else { throw unsupported("save it as f4 or i8") }
        self.kind = kind
        isBigEndian = order == UInt8(ascii: ">")
        // A time has its unit behind: M8[ns].
        let digits = body.dropFirst().prefix { $0 &- 0x30 <= 9 }
        guard var count = Int(String(decoding: digits, as: UTF8.self)), count <= 1 << 20 else {
            throw unsupported(
                kind == UInt8(ascii: "O")
                    ? "an array of objects is a program: save numbers or texts" : "save it as f4 or i8")
        }
        if kind == UInt8(ascii: "U") { count *= 4 }
        size = count
        let isKnown =
            switch Unicode.Scalar(kind) {
            case "b": count == 1
            case "i", "u": [1, 2, 4, 8].contains(count)
            case "f": [2, 4, 8].contains(count)
            case "M", "m": count == 8
            case "S", "U": count > 0
            default: false
            }
        guard isKnown else {
            throw unsupported(
                kind == UInt8(ascii: "c")
                    ? "save real and imaginary parts as an array of floats" : "save it by array.astype('f4') or 'i8'")
        }
    }

    func array(_ bytes: ArraySlice<UInt8>, _ shape: [Int]) throws(DeMLError) -> SourceArray {
        func plain(_ dtype: DType) throws(DeMLError) -> SourceArray {
            .numbers(try Tensor(dtype: dtype, shape: shape, bytes: bytes))
        }
        switch (Unicode.Scalar(kind), size) {
        case ("b", _): return try plain(.bool)
        case ("i", 1): return try plain(.i8)
        case ("i", 2): return try plain(.i16)
        case ("i", 4): return try plain(.i32)
        case ("i", 8), ("M", _), ("m", _): return try plain(.i64)
        case ("u", 1): return try plain(.u8)
        case ("u", 2):
            return .numbers(Tensor(shape: shape, int32s: widened(bytes) { Int32($0 as UInt16) }))
        case ("u", 4):
            return .numbers(Tensor(shape: shape, int64s: widened(bytes) { Int64($0 as UInt32) }))
        case ("u", 8):
            let numbers = widened(bytes) { Int64(clamping: $0 as UInt64) }
            guard !numbers.contains(.max) else {
                throw DeMLError(.outOfRange, "the array holds an integer of 2^63 or more")
            }
            return .numbers(Tensor(shape: shape, int64s: numbers))
        case ("f", 2): return try plain(.f16)
        case ("f", 4): return try plain(.f32)
        case ("f", 8): return try plain(.f64)
        default: return .texts(texts(bytes), shape: shape)
        }
    }

    private func widened<Stored: FixedWidthInteger & BitwiseCopyable, Wide>(
        _ bytes: ArraySlice<UInt8>, _ convert: (Stored) -> Wide
    ) -> [Wide] {
        bytes.withUnsafeBytes { raw in
            stride(from: 0, to: raw.count, by: MemoryLayout<Stored>.size).map {
                convert(Stored(littleEndian: raw.loadUnaligned(fromByteOffset: $0, as: Stored.self)))
            }
        }
    }

    /// Texts of a fixed length, filled up with zeros.
    private func texts(_ bytes: ArraySlice<UInt8>) -> [String] {
        stride(from: bytes.startIndex, to: bytes.endIndex, by: size).map { start in
            let field = bytes[start..<start + size]
            if kind == UInt8(ascii: "S") {
                return String(decoding: field.prefix { $0 != 0 }, as: UTF8.self)
            }
            var text = ""
            for unit in stride(from: field.startIndex, to: field.endIndex, by: 4) {
                let value = (0..<4).reduce(UInt32(0)) { $0 | UInt32(field[unit + $1]) << (8 * UInt32($1)) }
                guard value != 0 else { break }
                text.unicodeScalars.append(Unicode.Scalar(value) ?? "\u{fffd}")
            }
            return text
        }
    }
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`: a Python literal with these three keys and no other.
private struct PythonDictionary {
    struct Header {
        var descr = ""
        var fortranOrder = false
        var shape: [Int] = []
    }

    private let bytes: [UInt8]
    private var position = 0

    init(_ text: ArraySlice<UInt8>) {
        bytes = Array(text)
    }

    mutating func parse() throws(DeMLError) -> Header {
        var header = Header()
        var keys: Set<String> = []
        try expect("{")
        while !accept("}") {
            let key = try string()
            try expect(":")
            guard keys.insert(key).inserted else { throw malformed("the key \(key.quotedForMessage) appears twice") }
            switch key {
            case "descr":
                guard peek() == UInt8(ascii: "'") || peek() == UInt8(ascii: "\"") else {
                    throw DeMLError(.dtype, "the array holds records, not numbers")
                }
                header.descr = try string()
            case "fortran_order": header.fortranOrder = try boolean()
            case "shape": header.shape = try tuple()
            default: throw malformed("the key \(key.quotedForMessage) is unknown")
            }
            if !accept(",") {
                try expect("}")
                break
            }
        }
        skipSpace()
        guard position == bytes.count, keys.count == 3 else {
            throw malformed("it must have descr, fortran_order and shape")
        }
        return header
    }

    private mutating func string() throws(DeMLError) -> String {
        let quote: Unicode.Scalar = peek() == UInt8(ascii: "\"") ? "\"" : "'"
        try expect(quote)
        let start = position
        while position < bytes.count, bytes[position] != UInt8(ascii: quote) { position += 1 }
        guard position < bytes.count else { throw malformed("a string has no end") }
        position += 1
        return String(decoding: bytes[start..<position - 1], as: UTF8.self)
    }

    private mutating func boolean() throws(DeMLError) -> Bool {
        for (word, value) in [("False", false), ("True", true)] {
            skipSpace()
            if bytes[position...].starts(with: word.utf8) {
                position += word.utf8.count
                return value
            }
        }
        throw malformed("fortran_order is neither True nor False")
    }

    private mutating func tuple() throws(DeMLError) -> [Int] {
        var numbers: [Int] = []
        try expect("(")
        while !accept(")") {
            guard numbers.count < 64 else { throw malformed("the shape has too many dimensions") }
            skipSpace()
            let start = position
            while position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) {
                position += 1
            }
            guard let number = Int(String(decoding: bytes[start..<position], as: UTF8.self)) else {
                throw malformed("the shape holds something that is no number")
            }
            numbers.append(number)
            // Python 2 wrote long integers with an L.
            _ = accept("L")
            if !accept(",") {
                try expect(")")
                break
            }
        }
        return numbers
    }

    private mutating func peek() -> UInt8? {
        skipSpace()
        return position < bytes.count ? bytes[position] : nil
    }

    private mutating func accept(_ character: Unicode.Scalar) -> Bool {
        guard peek() == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(DeMLError) {
        guard accept(character) else { throw malformed("\(character) is missing at byte \(position)") }
    }

    private mutating func skipSpace() {
        while position < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[position]) { position += 1 }
    }

    private func malformed(_ what: String) -> DeMLError {
        DeMLError(.malformed, "the npy header is not a dictionary that numpy writes: \(what)")
    }
}
