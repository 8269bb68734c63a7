import Datasets
import Tensors
import TestSupport
import Testing

/// Most tables are plain text between separators, and such rows are found and read many at a time. However rows are written,
/// and wherever the others stand among them, the same values come out.
@Suite struct PlainTableTests {
    private static let count = 3000

    /// Rows of numbers, words and gaps.
    private static func rows() -> [[String]] {
        var generator = SeededGenerator(seed: 3, purpose: "plain")
        let words = ["north", "south", "a word of more than sixteen bytes", "x", "zwölf Boxkämpfer"]
        return (0..<count).map { row in
            [
                "\(generator.normal())", "\(Int(generator.uniform(below: 1000)) - 500)",
                String("\(generator.normal() * 1000)".prefix(8)), row % 17 == 5 ? "" : "\(row % 13).25",
                words[generator.uniform(below: words.count)], ["1e-3", "+2.5", "7", "1234567890123456789"][row % 4],
                row % 3 == 0 ? "yes" : "no",
            ]
        }
    }

    private static let header = "a,b,c,gap,place,odd,label"

    private func read(_ text: String, path: String? = nil) throws -> Dataset {
        var options = DatasetOptions(testFraction: 0.25)
        options.labelColumn = "label"
        guard let path else {
            return try Dataset(storedBytes: Array(text.utf8), name: "data.csv", options: options)
        }
        try Files.writeAtomically(Array(text.utf8), to: path)
        return try Dataset(path: path, options: options)
    }

    private func isSame(_ one: Dataset, _ other: Dataset) -> Bool {
        one.train == other.train && one.test == other.test && one.schema == other.schema
    }

    @Test func theSameHoweverItIsWritten() throws {
        try withScratch { folder in
            let rows = Self.rows()
            func text(_ end: String, _ field: (Int, Int, String) -> String) -> String {
                ([Self.header]
                    + rows.enumerated().map { row, fields in
                        fields.enumerated().map { field(row, $0, $1) }.joined(separator: ",")
                    }).joined(separator: end) + end
            }
            let plain = try read(text("\n") { $2 })
            #expect(plain.train.count == 2250 && plain.schema.inputShape == [11])
            // All of it read by the way that reads everything.
            let quoted = try read(text("\n") { "\"\($2)\"" })
            #expect(isSame(plain, quoted))
            #expect(isSame(plain, try read(text("\r\n") { $2 })))
            #expect(isSame(plain, try read(text("\r") { $2 })))
            #expect(isSame(plain, try read(text("\n") { "  \($2) " })))
            // Here and there a row of another kind, and empty lines.
            let mixed = text("\n") { row, column, field in
                switch (row * 7919 % 301, column) {
                case (0, 4): "\"\(field)\""
                case (1, 1): " \(field)"
                case (2, 2): "\(field) "
                case (3, 6): "\(field)\r"
                case (4, 6): "\(field)\n\n"
                case (5, 0): "\n\(field)"
                default: field
                }
            }
            #expect(isSame(plain, try read(mixed)))
            #expect(isSame(plain, try read(mixed, path: "\(folder)/mixed.csv")))
            // No line end after the last row.
            #expect(isSame(plain, try read(String(text("\n") { $2 }.dropLast()), path: "\(folder)/open.csv")))
        }
    }

    @Test func aFaultIsFoundInItsLine() throws {
        let rows = Self.rows().map { $0.joined(separator: ",") }
        func fault(_ row: Int, _ text: String) -> String? {
            var rows = rows
            rows[row] = text
            let whole = ([Self.header] + rows).joined(separator: "\n") + "\n"
            return failure { _ = try read(whole) }.map { "\($0)" }
        }
        for row in [1, 255, 256, 257, 1023, 2998, 2999] {
            let line = "line \(row + 2)"
            let few = fault(row, "1,2,3")
            // The first thousand rows are looked at before all are read.
            let isSample = row < 1000
            #expect(
                few?.contains(line) == true && few?.contains(isSample ? "3 fields" : "3 of 7 fields") == true,
                "\(few ?? "")")
            let many = fault(row, "1,2,3,4,x,6,yes,8")
            #expect(
                many?.contains(line) == true && many?.contains(isSample ? "8 fields" : "more than 7 fields") == true,
                "\(many ?? "")")
            if !isSample {
                let word = fault(row, "1,word,3,4,x,6,yes")
                #expect(word?.contains(line) == true && word?.contains("'word' is no number") == true, "\(word ?? "")")
            }
            let large = fault(row, "1e300,2,3,4,x,6,yes")
            #expect(large?.contains(line) == true && large?.contains("too large") == true, "\(large ?? "")")
        }
    }
}
