/// Deflates bytes without a search (RFC 1951): as themselves and as runs of one byte, in a code of their own for every stretch
/// of them. It finds what zlib does with `Z_RLE`, several times as fast.
enum RunDeflate {
    /// Bytes that share a code: so many that writing it does not count, so few that another kind of numbers gets its own.
    private static let stretchBytes = 1 << 16

    /// Deflate blocks of the content, none of them the last of a stream; ends on a byte (a sync flush).
    static func deflate(_ content: UnsafeRawBufferPointer) -> [UInt8] {
        let stretches = (content.count + stretchBytes - 1) / stretchBytes
        // At worst each stretch is stored, in two blocks; a word may be written beyond the end.
        let bound = content.count + stretches * 16 + 32
        return [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
            guard let target = UnsafeMutableRawPointer(buffer.baseAddress) else { return }
            var output = BitWriter(target)
            if let base = content.baseAddress {
                let tokens = TokenCounts()
                for start in stride(from: 0, to: content.count, by: stretchBytes) {
                    write(base, start..<min(start + stretchBytes, content.count), tokens, &output)
                }
            }
            stored(UnsafeRawBufferPointer(start: nil, count: 0), &output)
            count = output.next - target
        }
    }

    /// One stretch, in the way that takes fewest bits.
    private static func write(
        _ base: UnsafeRawPointer, _ range: Range<Int>, _ tokens: TokenCounts, _ output: inout BitWriter
    ) {
        tokens.count(base, range)
        let own = TokenCode(tokens)
        let (ownBits, fixedBits) = (own.bits(tokens), TokenCode.fixed.bits(tokens))
        if min(ownBits, fixedBits) >= (range.count + 8) * 8 {
            stored(UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count), &output)
        } else {
            (ownBits < fixedBits ? own : TokenCode.fixed).write(base, range, &output)
        }
    }

    /// Bytes as they are; at least one block, which is empty where there are none.
    private static func stored(_ bytes: UnsafeRawBufferPointer, _ output: inout BitWriter) {
        var position = 0
        repeat {
            let count = min(bytes.count - position, 0xffff)
            output.put(0, 3)
            output.align()
            output.put(UInt64(count) | UInt64(~count & 0xffff) << 16, 32)
            output.flush()
            if count > 0 {
                output.next.copyMemory(from: bytes.baseAddress! + position, byteCount: count)
                output.next += count
            }
            position += count
        } while position < bytes.count
    }
}

/// Bits to memory, the lowest first.
private struct BitWriter {
    var next: UnsafeMutableRawPointer
    private var bits: UInt64 = 0
    private var count = 0

    init(_ start: UnsafeMutableRawPointer) { next = start }

    /// At most 56 bits between two calls of ``flush()``.
    @inline(__always)
    mutating func put(_ value: UInt64, _ length: Int) {
        bits |= value &<< UInt64(truncatingIfNeeded: count)
        count &+= length
    }

    /// Writes eight bytes, of which the next ones may be written again.
    @inline(__always)
    mutating func flush() {
        next.storeBytes(of: bits.littleEndian, as: UInt64.self)
        next += count &>> 3
        bits &>>= UInt64(truncatingIfNeeded: count & ~7)
        count &= 7
    }

    mutating func align() {
        flush()
        if count > 0 { count = 8 }
        flush()
    }
}

/// Is given the tokens of a stretch in order.
private protocol TokenTaker {
    /// Eight literals, the lowest byte first.
    mutating func eight(_ word: UInt64)
    /// As many of the lowest bytes.
    mutating func literals(_ word: UInt64, _ count: Int)
    /// A run of so many bytes.
    mutating func run(_ length: Int)
}

/// What a stretch is cut into: literal bytes, and runs that repeat the byte before them.
private enum Token {
    static let shortestRun = 3
    static let longestRun = 258
    /// The symbol that ends a block, and that of the shortest run.
    static let end = 256
    static let firstRun = 257
    static let symbols = 286

    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highs: UInt64 = 0x8080_8080_8080_8080

    /// Gives the tokens of a range in order. What is before the range in memory counts.
    @inline(__always)
    static func each<Taker: TokenTaker>(_ base: UnsafeRawPointer, _ range: Range<Int>, _ taker: inout Taker) {
        var place = range.lowerBound
        let end = range.upperBound
        if place == 0, place < end {
            taker.literals(UInt64(base.load(as: UInt8.self)), 1)
            place = 1
        }
        while place < end {
            if end &- place >= 8 {
                let word = base.loadUnaligned(fromByteOffset: place, as: UInt64.self).littleEndian
                let before = base.loadUnaligned(fromByteOffset: place &- 1, as: UInt64.self).littleEndian
                let other = word ^ before
                // The highest bit of every byte that is the one before; and of those where a run may begin.
                let same = ~(((other & ~highs) &+ ~highs) | other) & highs
                let begins = same & (same &>> 8 | 0x8000_0000_0000_0000) & (same &>> 16 | 0x8080_0000_0000_0000)
                if begins == 0 {
                    taker.eight(word)
                    place &+= 8
                    continue
                }
                let free = begins.trailingZeroBitCount &>> 3
                if free > 0 {
                    taker.literals(word, free)
                    place &+= free
                }
            }
            let most = min(longestRun, end &- place)
            let length = runLength(base + place, most)
            if length >= shortestRun {
                taker.run(length)
                place &+= length
            } else {
                taker.literals(UInt64(base.load(fromByteOffset: place, as: UInt8.self)), 1)
                place &+= 1
            }
        }
    }

    /// How many bytes from `text` on, at most `most`, are the one before it.
    @inline(__always)
    private static func runLength(_ text: UnsafeRawPointer, _ most: Int) -> Int {
        let byte = (text - 1).load(as: UInt8.self)
        let all = UInt64(byte) &* ones
        var length = 0
        while most &- length >= 8 {
            let other = text.loadUnaligned(fromByteOffset: length, as: UInt64.self).littleEndian ^ all
            if other != 0 { return length &+ other.trailingZeroBitCount &>> 3 }
            length &+= 8
        }
        while length < most, text.load(fromByteOffset: length, as: UInt8.self) == byte { length &+= 1 }
        return length
    }

    /// Of each run length, from the shortest on: the symbol, and how many bits say the rest.
    static let runs: [(symbol: Int, extra: Int, rest: Int)] = {
        var runs: [(symbol: Int, extra: Int, rest: Int)] = []
        for symbol in 0..<28 {
            let extra = symbol < 8 ? 0 : symbol / 4 - 1
            for rest in 0..<(1 << extra) where runs.count < longestRun - shortestRun {
                runs.append((firstRun + symbol, extra, rest))
            }
        }
        return runs + [(symbols - 1, 0, 0)]
    }()
}

/// How often each symbol occurs in a stretch.
private final class TokenCounts {
    // Literals side by side are counted apart, so that none waits for the other.
    private let tables = UnsafeMutablePointer<UInt32>.allocate(capacity: 4 * 256)
    private let lengths = UnsafeMutablePointer<UInt32>.allocate(capacity: 256)
    /// By symbol.
    private(set) var symbols: [Int] = []
    /// Bits behind the symbols of runs, but for the distances.
    private(set) var extraBits = 0
    private(set) var runs = 0

    deinit {
        tables.deallocate()
        lengths.deallocate()
    }

    private struct Counter: TokenTaker {
        let tables: UnsafeMutablePointer<UInt32>
        let lengths: UnsafeMutablePointer<UInt32>

        @inline(__always)
        mutating func eight(_ word: UInt64) {
            var word = word
            for _ in 0..<2 {
                tables[Int(word & 0xff)] &+= 1
                tables[256 &+ Int(word &>> 8 & 0xff)] &+= 1
                tables[512 &+ Int(word &>> 16 & 0xff)] &+= 1
                tables[768 &+ Int(word &>> 24 & 0xff)] &+= 1
                word &>>= 32
            }
        }

        @inline(__always)
        mutating func literals(_ word: UInt64, _ count: Int) {
            var word = word
            for _ in 0..<count {
                tables[Int(word & 0xff)] &+= 1
                word &>>= 8
            }
        }

        @inline(__always)
        mutating func run(_ length: Int) { lengths[length &- Token.shortestRun] &+= 1 }
    }

    func count(_ base: UnsafeRawPointer, _ range: Range<Int>) {
        tables.update(repeating: 0, count: 4 * 256)
        lengths.update(repeating: 0, count: 256)
        var counter = Counter(tables: tables, lengths: lengths)
        Token.each(base, range, &counter)
        var symbols = [Int](repeating: 0, count: Token.symbols)
        for byte in 0..<256 {
            symbols[byte] = Int(tables[byte] &+ tables[256 + byte] &+ tables[512 + byte] &+ tables[768 + byte])
        }
        symbols[Token.end] = 1
        (extraBits, runs) = (0, 0)
        for (place, run) in Token.runs.enumerated() where lengths[place] > 0 {
            symbols[run.symbol] += Int(lengths[place])
            extraBits += run.extra * Int(lengths[place])
            runs += Int(lengths[place])
        }
        self.symbols = symbols
    }
}

/// A prefix code for the symbols of a stretch, and what says it in the stream.
private struct TokenCode {
    /// Bits of every symbol.
    private let lengths: [UInt8]
    private let distanceBits: Int
    /// What stands before the symbols: the block's head, the code. Values and their bits.
    private let head: [(value: Int, bits: Int)]

    /// So long that four literals fit into a word.
    private static let longest = 14

    /// The code that everybody knows.
    static let fixed = TokenCode(
        // Two symbols that are never written have a place in it.
        lengths: (0..<Token.symbols + 2).map { $0 < 144 ? 8 : $0 < 256 ? 9 : $0 < 280 ? 7 : 8 }, distanceBits: 5,
        head: [(0, 1), (1, 2)])

    private init(lengths: [UInt8], distanceBits: Int, head: [(value: Int, bits: Int)]) {
        self.lengths = lengths
        self.distanceBits = distanceBits
        self.head = head
    }

    /// The shortest one for what was counted.
    init(_ tokens: TokenCounts) {
        lengths = PrefixCode.lengths(tokens.symbols, longest: Self.longest)
        distanceBits = 1
        head = Self.head(lengths)
    }

    /// The order in which the bits of the code's own code are said.
    private static let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

    private static func head(_ lengths: [UInt8]) -> [(value: Int, bits: Int)] {
        let used = max(Token.firstRun, (lengths.lastIndex { $0 > 0 } ?? 0) + 1)
        // Two distances, of which the first one, 1, is used: a code of one symbol is not what every reader takes.
        let said = repeats(Array(lengths[..<used]) + [1, 1])
        var counts = [Int](repeating: 0, count: order.count)
        for one in said { counts[one.symbol] += 1 }
        let code = PrefixCode.lengths(counts, longest: 7)
        let values = PrefixCode.values(code)
        let orders = max(4, (order.lastIndex { code[$0] > 0 } ?? 0) + 1)
        var head = [(0, 1), (2, 2), (used - Token.firstRun, 5), (1, 5), (orders - 4, 4)]
        head += order[..<orders].map { (Int(code[$0]), 3) }
        for one in said {
            head.append((Int(values[one.symbol]), Int(code[one.symbol])))
            if one.bits > 0 { head.append((one.rest, one.bits)) }
        }
        return head
    }

    /// Lengths, with symbols for those that repeat themselves.
    private static func repeats(_ lengths: [UInt8]) -> [(symbol: Int, rest: Int, bits: Int)] {
        var said: [(symbol: Int, rest: Int, bits: Int)] = []
        var place = 0
        while place < lengths.count {
            let length = lengths[place]
            let count = lengths[place...].prefix { $0 == length }.count
            if length == 0, count >= 3 {
                let taken = min(count, 138)
                said.append(taken < 11 ? (17, taken - 3, 3) : (18, taken - 11, 7))
                place += taken
            } else if length > 0, count >= 4 {
                let taken = min(count - 1, 6)
                said += [(Int(length), 0, 0), (16, taken - 3, 2)]
                place += taken + 1
            } else {
                said.append((Int(length), 0, 0))
                place += 1
            }
        }
        return said
    }

    /// What the stretch takes in this code.
    func bits(_ tokens: TokenCounts) -> Int {
        var bits = tokens.extraBits + tokens.runs * distanceBits
        for one in head { bits += one.bits }
        for (symbol, count) in tokens.symbols.enumerated() { bits += count * Int(lengths[symbol]) }
        return bits
    }

    func write(_ base: UnsafeRawPointer, _ range: Range<Int>, _ output: inout BitWriter) {
        for one in head {
            output.put(UInt64(one.value), one.bits)
            output.flush()
        }
        let values = PrefixCode.values(lengths)
        // Bits and how many they are, the number in the lowest byte.
        let words = zip(values, lengths).map { UInt64($0) << 8 | UInt64($1) }
        let runs = Token.runs.map { run in
            let length = Int(lengths[run.symbol])
            let bits = UInt64(values[run.symbol]) | UInt64(run.rest) << UInt64(length)
            return bits << 8 | UInt64(length + run.extra + distanceBits)
        }
        words.withUnsafeBufferPointer { words in
            runs.withUnsafeBufferPointer { runs in
                var coder = Coder(words: words.baseAddress!, runs: runs.baseAddress!, output: output)
                Token.each(base, range, &coder)
                coder.put(words[Token.end])
                coder.output.flush()
                output = coder.output
            }
        }
    }

    private struct Coder: TokenTaker {
        let words: UnsafePointer<UInt64>
        let runs: UnsafePointer<UInt64>
        var output: BitWriter

        @inline(__always)
        mutating func put(_ word: UInt64) { output.put(word &>> 8, Int(truncatingIfNeeded: word & 0xff)) }

        @inline(__always)
        mutating func eight(_ word: UInt64) {
            put(words[Int(word & 0xff)])
            put(words[Int(word &>> 8 & 0xff)])
            put(words[Int(word &>> 16 & 0xff)])
            put(words[Int(word &>> 24 & 0xff)])
            output.flush()
            put(words[Int(word &>> 32 & 0xff)])
            put(words[Int(word &>> 40 & 0xff)])
            put(words[Int(word &>> 48 & 0xff)])
            put(words[Int(word &>> 56)])
            output.flush()
        }

        @inline(__always)
        mutating func literals(_ word: UInt64, _ count: Int) {
            var word = word
            for _ in 0..<count {
                put(words[Int(word & 0xff)])
                output.flush()
                word &>>= 8
            }
        }

        @inline(__always)
        mutating func run(_ length: Int) {
            put(runs[length &- Token.shortestRun])
            output.flush()
        }
    }
}

/// Prefix codes (Huffman, "A method for the construction of minimum-redundancy codes", 1952), canonical as in RFC 1951.
private enum PrefixCode {
    /// Bits of each symbol, by how often it occurs, none more than `longest`; 0 where it does not occur. At least two symbols
    /// are to occur.
    static func lengths(_ counts: [Int], longest: Int) -> [UInt8] {
        // The rarest first.
        let order = counts.indices.filter { counts[$0] > 0 }.map { counts[$0] << 9 | $0 }.sorted()
        precondition(order.count > 1, "a code of one symbol")
        let leaves = order.count
        var weights = order.map { $0 >> 9 } + [Int](repeating: 0, count: leaves - 1)
        var parents = [Int](repeating: 0, count: 2 * leaves - 1)
        // Leaves and joined nodes are two queues, each with the lightest first.
        var (leaf, joined) = (0, leaves)
        for new in leaves..<(2 * leaves - 1) {
            for _ in 0..<2 {
                let takesLeaf = leaf < leaves && (joined == new || weights[leaf] <= weights[joined])
                let node = takesLeaf ? leaf : joined
                if takesLeaf { leaf += 1 } else { joined += 1 }
                parents[node] = new
                weights[new] += weights[node]
            }
        }
        var depths = [Int](repeating: 0, count: 2 * leaves - 1)
        var numbers = [Int](repeating: 0, count: longest + 1)
        for node in (0..<(2 * leaves - 2)).reversed() {
            depths[node] = depths[parents[node]] + 1
            if node < leaves { numbers[min(depths[node], longest)] += 1 }
        }
        // Symbols that were too long take the place of others, one bit longer then, until there is room for all.
        var taken = (1...longest).reduce(0) { $0 + numbers[$1] << (longest - $1) }
        while taken > 1 << longest {
            let shorter = (1..<longest).last { numbers[$0] > 0 } ?? 1
            numbers[longest] -= 1
            numbers[shorter] -= 1
            numbers[shorter + 1] += 2
            taken -= 1
        }
        var lengths = [UInt8](repeating: 0, count: counts.count)
        var next = 0
        for length in (1...longest).reversed() {
            for _ in 0..<numbers[length] {
                lengths[order[next] & 0x1ff] = UInt8(length)
                next += 1
            }
        }
        return lengths
    }

    /// The bits of each symbol, the first one lowest.
    static func values(_ lengths: [UInt8]) -> [UInt16] {
        var numbers = [UInt16](repeating: 0, count: 16)
        for length in lengths where length > 0 { numbers[Int(length)] += 1 }
        var next = [UInt16](repeating: 0, count: 16)
        for length in 1..<16 { next[length] = (next[length - 1] &+ numbers[length - 1]) << 1 }
        return lengths.map { length in
            guard length > 0 else { return 0 }
            defer { next[Int(length)] &+= 1 }
            var (value, bits) = (next[Int(length)], UInt16(0))
            for _ in 0..<length {
                bits = bits << 1 | value & 1
                value >>= 1
            }
            return bits
        }
    }
}
