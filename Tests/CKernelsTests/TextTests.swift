import CKernels
import Foundation
import Testing

/// Fields and numbers of tables, on every instruction set, against the same read byte by byte.
@Suite struct TextTests {
    /// Where the fields of a text end, until something comes that is read in another way.
    private static func fields(_ text: [UInt8], _ separator: UInt8) -> (fields: [Range<Int>], lines: [Int], bytes: Int)
    {
        var fields: [Range<Int>] = []
        var lines: [Int] = []
        var start = 0
        for block in 0..<text.count / 64 {
            let bytes = block * 64..<block * 64 + 64
            func isMark(_ place: Int) -> Bool { place < 0 || text[place] == separator || text[place] == 0x0a }
            func isSpace(_ place: Int) -> Bool {
                place >= 0 && !isMark(place) && (text[place] == 0x20 || text[place] == 0x09)
            }
            let isPlain = bytes.allSatisfy { place in
                text[place] != 0x22 && text[place] != 0x0d
                    && !(isMark(place - 1) && isSpace(place)) && !(isSpace(place - 1) && isMark(place))
            }
            guard isPlain else { return (fields, lines, block * 64) }
            for place in bytes where isMark(place) {
                if text[place] == 0x0a { lines.append(fields.count) }
                fields.append(start..<place)
                start = place + 1
            }
        }
        return (fields, lines, text.count / 64 * 64)
    }

    @Test(arguments: instructionSets) func fieldsEndWhereTheyDo(isa: deml_isa) {
        var random = Random(1)
        for round in 0..<400 {
            let separator: UInt8 = [0x2c, 0x3b, 0x09][round % 3]
            // Mostly digits and marks; spaces, quotes and CR now and then.
            var text = (0..<random.below(700)).map { _ in
                [0x30, 0x31, 0x2e, separator, separator, 0x0a, 0x61, 0xff][random.below(8)] as UInt8
            }
            if !text.isEmpty {
                for _ in 0..<round % 3 { text[random.below(text.count)] = [0x20, 0x09, 0x22, 0x0d][random.below(4)] }
            }
            let expected = Self.fields(text, separator)
            let room = text.count + 64
            var found = [deml_text_field](repeating: deml_text_field(), count: room)
            var ends = [UInt32](repeating: 0, count: room)
            var lines = 0
            let bytes = text.withUnsafeBufferPointer {
                deml_text_fields(isa, $0.baseAddress, text.count, separator, room, &found, &ends, &lines)
            }
            #expect(bytes == expected.bytes, "round \(round)")
            #expect(ends[..<lines].map(Int.init) == expected.lines, "round \(round)")
            let count = expected.fields.count
            #expect(found[..<count].map { Int($0.start)..<Int($0.end) } == expected.fields, "round \(round)")
        }
    }

    @Test(arguments: instructionSets) func fieldsStopWhereThereIsNoRoom(isa: deml_isa) {
        let text = [UInt8](repeating: 0x2c, count: 640)
        for room in [0, 63, 64, 65, 128, 200] {
            var found = [deml_text_field](repeating: deml_text_field(), count: max(room, 1))
            var ends = [UInt32](repeating: 0, count: max(room, 1))
            var lines = 0
            let bytes = text.withUnsafeBufferPointer {
                deml_text_fields(isa, $0.baseAddress, text.count, 0x2c, room, &found, &ends, &lines)
            }
            #expect(bytes == room / 64 * 64 && lines == 0)
        }
    }

    /// A field that may be a number, or nearly.
    private static func field(_ random: inout Random) -> String {
        func digits(_ count: Int) -> String { String((0..<count).map { _ in Character("\(random.below(10))") }) }
        let sign = ["", "", "-", "+"][random.below(4)]
        switch random.below(12) {
        case 0:
            return ["", "-", "+", ".", "-.", "..", "1.2.3", "--1", "1-", "NA", "nan", "0x1", "1e5", "1 2"][
                random.below(14)]
        case 1: return sign + digits(1 + random.below(20))
        case 2: return sign + "." + digits(1 + random.below(18))
        case 3: return sign + digits(1 + random.below(18)) + "."
        case 4:
            var text = Array(digits(1 + random.below(16)).utf8)
            text[random.below(text.count)] = UInt8(random.below(256)) | (random.below(2) == 0 ? 0x80 : 1)
            text = text.map { [0x2c, 0x0a, 0x0d, 0x22].contains($0) ? 0x78 : $0 }
            return String(decoding: text, as: UTF8.self)
        case 5: return sign + "0"
        case 6: return sign + "9007199254740993"
        default: return sign + digits(1 + random.below(9)) + "." + digits(random.below(8))
        }
    }

    @Test(arguments: instructionSets) func numbersAreTheNearest(isa: deml_isa) {
        var random = Random(2)
        for (round, decimal) in [UInt8(ascii: "."), UInt8(ascii: ","), UInt8(ascii: ".")].enumerated() {
            let words = (0..<5000).map { _ in Self.field(&random) }
            let mark = String(UnicodeScalar(decimal))
            let texts = words.map { Array($0.replacingOccurrences(of: ".", with: mark).utf8) }
            // Now and then at the very beginning, where there are no 16 bytes before the end.
            var text: [UInt8] = []
            var fields: [deml_text_field] = []
            for word in texts {
                fields.append(
                    deml_text_field(start: UInt32(text.count), end: UInt32(text.count + word.count)))
                text += word + [0x3b]
            }
            fields.append(deml_text_field(start: 0, end: UInt32(texts[0].count) | 1 << 31))
            let stride = 1 + round
            let count = (fields.count + stride - 1) / stride
            var numbers = [Double](repeating: 0, count: count)
            var others = [UInt32](repeating: 0, count: count)
            var range = deml_text_range(minimum: .infinity, maximum: -.infinity, whole: true)
            let other = text.withUnsafeBufferPointer {
                deml_text_numbers(isa, $0.baseAddress, fields, stride, count, decimal, &numbers, &others, &range)
            }
            var expectedOthers: [UInt32] = []
            var wrong: [String] = []
            var least = Double.infinity
            var most = -Double.infinity
            for row in 0..<count {
                let index = row * stride
                let word = index < words.count ? words[index] : "flagged"
                let body = word.utf8.drop { $0 == 0x2d || $0 == 0x2b }
                let digits = body.filter { $0 != 0x2e }
                let isCommon =
                    body.count >= word.utf8.count - 1 && digits.count > 0
                    && digits.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
                    && body.count <= 16 && body.count - digits.count <= 1 && fields[index].end >= 16
                    && UInt64(String(decoding: digits, as: UTF8.self))! <= 1 << 53
                if isCommon, let value = Double(word.hasPrefix("+") ? String(word.dropFirst()) : word) {
                    if numbers[row].bitPattern != value.bitPattern { wrong.append("\(word): \(numbers[row])") }
                    least = min(least, value)
                    most = max(most, value)
                } else {
                    expectedOthers.append(UInt32(row))
                    if !numbers[row].isNaN { wrong.append("\(word): \(numbers[row])") }
                }
            }
            #expect(wrong == [])
            #expect(Array(others[..<other]) == expectedOthers)
            #expect(range.minimum == least && range.maximum == most && !range.whole)
        }
    }

    @Test(arguments: instructionSets) func wholeNumbersAreKnown(isa: deml_isa) {
        func areWhole(_ words: [String]) -> Bool {
            var text = [UInt8](repeating: 0x3b, count: 16)
            var fields: [deml_text_field] = []
            for word in words {
                fields.append(deml_text_field(start: UInt32(text.count), end: UInt32(text.count + word.utf8.count)))
                text += Array(word.utf8) + [0x3b]
            }
            var numbers = [Double](repeating: 0, count: words.count)
            var others = [UInt32](repeating: 0, count: words.count)
            var range = deml_text_range(minimum: .infinity, maximum: -.infinity, whole: true)
            _ = text.withUnsafeBufferPointer {
                deml_text_numbers(isa, $0.baseAddress, fields, 1, words.count, 0x2e, &numbers, &others, &range)
            }
            return range.whole
        }
        let many = (0..<100).map(String.init)
        #expect(areWhole(many) && areWhole(many + ["1.0", "-7.000", "?", ""]))
        #expect(!areWhole(many + ["1.5"]) && !areWhole(["-0"] + many) && !areWhole(many + ["-0.0"]))
    }
}
