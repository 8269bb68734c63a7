import Datasets
import Tensors
import TestSupport
import Testing

@Suite struct CSVTests {
    private func read(_ text: String, _ change: (inout DatasetOptions) -> Void = { _ in }) throws -> Dataset {
        var options = DatasetOptions(testFraction: 0)
        change(&options)
        return try Dataset(storedBytes: Array(text.utf8), name: "data.csv", options: options)
    }

    private func error(_ text: String, _ change: (inout DatasetOptions) -> Void = { _ in }) -> DeMLError? {
        failure { _ = try read(text, change) }
    }

    private func text(_ data: Dataset, _ subject: String) -> String {
        data.decisions.filter { $0.subject == subject }.map(\.text).joined(separator: "; ")
    }

    private func first(_ options: inout DatasetOptions) { options.labelColumn = "0" }

    @Test func pixelsStayBytes() throws {
        let data = try read("7,0,255,3\n2,1,2,3\r\n\n1,4,5,6", first)
        #expect(data.train.x.dtype == .u8 && data.train.x.shape == [3, 3])
        #expect(try data.train.x.integers() == [0, 255, 3, 1, 2, 3, 4, 5, 6])
        #expect(data.schema.classNames == ["1", "2", "7"])
        let ids = try read(
            "7,0\n2,1\n1,4",
            {
                $0.labelColumn = "0"
                $0.outputs = 10
            })
        #expect(try ids.train.y.integers() == [7, 2, 1] && ids.classes == 8 && ids.classNames == nil)
    }

    // MARK: Header and label

    @Test func aHeaderIsRecognised() throws {
        let data = try read("a,label,b\n0.5,1,-2e-3\n1,0,1e3\n")
        #expect(data.train.x.dtype == .f32)
        #expect(try data.train.x.floats() == [0.5, -2e-3, 1, 1000])
        #expect(try data.train.y.integers() == [1, 0])
        #expect(text(data, "header").contains("'a'") && text(data, "label").contains("'label'"))
    }

    @Test func numbersOfColumnsAreAHeader() throws {
        let rows = (0..<20).map { "\($0 % 2),\($0).5,3" }.joined(separator: "\n")
        #expect(try read("0,1,2\n" + rows).train.count == 20)
        let data = try read("0,1,2\n" + rows) {
            $0.header = false
            $0.labelColumn = "0"
        }
        #expect(data.train.count == 21)
        #expect(try read("0,1,label\n1.5,2,1\n2.5,3,0\n").schema.targetColumns == ["label"])
    }

    @Test func aMissingValueInTheFirstLineIsNoHeader() throws {
        let data = try read("0,1.0,?,2.0\n1,2.0,3.5,1.0\n0,1.5,2.5,1.0\n", first)
        #expect(data.train.count == 3 && text(data, "header").contains("missing"))
        // A column for the number, one that says that it is missing.
        #expect(data.schema.inputShape == [4])
        #expect(try data.train.x.floats() == [1, 0, 1, 2, 2, 3.5, 0, 1, 1.5, 2.5, 0, 1])
    }

    @Test func scikitLearnsHeaderNamesTheClasses() throws {
        let data = try read("4,2,red,blue\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n")
        #expect(data.classNames == ["red", "blue"] && data.train.x.shape == [4, 2])
        #expect(try data.train.y.integers() == [0, 1, 0, 1])
    }

    @Test func theLabelIsNotGuessedWhereTwoColumnsMayBeIt() throws {
        let rows = (0..<20).map { "\($0 % 2),\($0).5,\($0 % 3)" }.joined(separator: "\n")
        let both = error("smoker,a,b\n" + rows)
        #expect(both?.code == .usage && both?.hint?.contains("--label-column") == true)
        #expect(both?.message.contains("'smoker'") == true && both?.message.contains("'b'") == true)
        let last = try read("a,kind\n" + (0..<20).map { "\($0).5,\($0 % 2 == 0 ? "x" : "y")" }.joined(separator: "\n"))
        #expect(last.schema.targetColumns == ["kind"] && text(last, "label").contains("the last"))
        #expect(error("a,b\n" + (0..<20).map { "\($0).5,\($0).25" }.joined(separator: "\n"))?.code == .usage)
        // What is to be predicted is never guessed.
        #expect(error("a,b\n1.5,2\n2.5,3\n") { $0.labels = .numbers }?.hint?.contains("--label-column") == true)
    }

    @Test func labelsByNameNumberAndSeveral() throws {
        let table = "a,\"b, cm\",c\n1,2,3.5\n4,5,6.5\n"
        #expect(try read(table) { $0.labelColumn = "b, cm" }.schema.targetColumns == ["b, cm"])
        #expect(try read(table) { $0.labelColumn = "-1" }.schema.targetColumns == ["c"])
        let two = try read(table) { $0.labelColumn = "a,c" }
        #expect(try two.train.y.floats() == [1, 3.5, 4, 6.5] && two.train.y.shape == [2, 2])
        let missing = error(table) { $0.labelColumn = "d" }
        #expect(missing?.code == .missing && missing?.hint?.contains("'a', 'b, cm', 'c'") == true)
    }

    @Test func rowsThatAreOnlyCountedAreLeftOut() throws {
        let rows = (0..<30).map { "\($0),\($0 % 4).5,P\($0),\($0 % 2)" }.joined(separator: "\n")
        let data = try read(",a,PassengerId,label\n" + rows)
        #expect(data.schema.columnNames == ["a"] && text(data, "left out").contains("counts the rows"))
    }

    // MARK: Classes and quantities

    @Test func namedClasses() throws {
        let data = try read(
            "\u{feff}width;height;species\n1.5;2;\"setosa; \"\"wild\"\"\"\n2.5;3;virginica\n0;0;virginica\n"
        ) { $0.labelColumn = "species" }
        #expect(data.classNames == ["setosa; \"wild\"", "virginica"])
        #expect(try data.train.y.integers() == [0, 1, 1])
    }

    @Test func manyWholeNumbersAreAskedFor() throws {
        func table(_ rows: Int, _ distinct: Int) -> String {
            "a,label\n" + (0..<rows).map { "\($0).5,\(25 + $0 % distinct)" }.joined(separator: "\n")
        }
        #expect(try read(table(442, 20)).classes == 20)
        #expect(try read(table(600, 30)).classes == 30)
        // As scikit-learn's diabetes, whose target is a measure of disease.
        let asked = error(table(442, 214))
        #expect(asked?.code == .usage && asked?.message.contains("214 different whole numbers in 442 rows") == true)
        #expect(asked?.hint?.contains("--labels classes or --labels numbers") == true)
        #expect(try read(table(442, 214)) { $0.labels = .numbers }.classes == nil)
        #expect(try read(table(442, 214)) { $0.labels = .classes }.classes == 214)
        #expect(try read(table(442, 400)).classes == nil)
    }

    @Test func aTableSortedByClassHasALabelToo() throws {
        func table(_ names: [String]) -> String {
            "a,b,type\n" + (0..<3000).map { "\($0).5,\($0).25,\(names[$0 / 1500])" }.joined(separator: "\n")
        }
        let data = try read(table(["spam", "nonspam"]))
        #expect(data.classNames == ["nonspam", "spam"] && text(data, "label").contains("the last"))
        let same = error(table(["spam", "spam"]))
        #expect(same?.code == .usage && same?.message.contains("every row has the same label, spam") == true)
    }

    @Test func theLossDecides() throws {
        let table = "label,a\n3,1\n-1,2\n3,3\n"
        #expect(try read(table) { $0.labels = .classes }.classNames == ["-1", "3"])
        #expect(try read(table) { $0.labels = .numbers }.train.y.floats() == [3, -1, 3])
        let fraction = error("label,a\n1.37,1\n2,2\n") { $0.labels = .classes }
        #expect(fraction?.message.contains("1.37") == true && fraction?.hint?.contains("mse") == true)
        #expect(error("label,a\nx,1\ny,2\n") { $0.labels = .numbers }?.message.contains("no number") == true)
    }

    // MARK: Columns

    @Test func categoriesAreOneHot() throws {
        let data = try read("city,n,label\nRome,1,0\nOslo,2,1\n,3,0\nRome,4,1\n")
        #expect(try data.train.x.floats() == [0, 1, 0, 1, 1, 0, 0, 2, 0, 0, 1, 3, 0, 1, 0, 4])
        let rows = (0..<300).map { "name\($0),\($0 % 2)" }.joined(separator: "\n")
        let many = error("name,label\n" + rows)
        #expect(many?.message.contains("300 different") == true && many?.hint?.contains("--ignore-columns") == true)
        #expect(
            try read("zip,label\n1010,0\n1020,1\n1010,1\n") { $0.categoryColumns = ["zip"] }.schema.inputShape == [2])
    }

    @Test func numbersAreStandardisedByTheTrainingRows() throws {
        let text = "label,a\n" + (0..<10).map { "\($0 % 2),\(1_700_000_000 + $0)" }.joined(separator: "\n")
        let data = try read(text) {
            $0.standardizes = true
            $0.testFraction = 0.2
        }
        let values = try data.train.x.floats()
        // Numbers that are large and near each other keep their differences.
        #expect(abs(values.reduce(0, +)) < 1e-4 && abs(values.map { $0 * $0 }.reduce(0, +) - 8) < 1e-3)
        #expect(Set(values).count == 8 && data.trainRows.count == 8 && data.testRows.count == 2)
        #expect(Set(data.trainRows).union(data.testRows) == Set(0..<10))
    }

    @Test func numbersAndWordsTogether() throws {
        let rows = (0..<40).map { "\($0 % 4 == 3 ? "5+" : "\($0 % 4)"),\($0 % 2)" }.joined(separator: "\n")
        let data = try read("rooms,label\n" + rows)
        #expect(data.schema.inputShape == [4])
        let broken =
            "a,label\n" + (0..<2000).map { "\($0 == 1500 ? "oops" : "\($0).5"),\($0 % 2)" }.joined(separator: "\n")
        let error = error(broken)
        #expect(error?.message == "'oops' is no number" && error?.place == "line 1502, column 'a'")
        #expect(error?.hint?.contains("--missing-values 'oops'") == true)
        #expect(try read(broken) { $0.missingValues = ["oops"] }.schema.inputShape == [2])
    }

    // MARK: Forms

    @Test(arguments: ["\n", "\r\n", "\r"]) func lineEnds(_ end: String) throws {
        let data = try read(["label,a", "0,1.5", "1,\"2.5\"", ""].joined(separator: end))
        #expect(try data.train.x.floats() == [1.5, 2.5])
    }

    @Test(arguments: [",", ";", "\t", "|", "  "]) func separators(_ separator: String) throws {
        let rows = [["label", "\"a, b; c\"", "d"], ["0", "1.5", "2"], ["1", "-3", "4"]]
        let data = try read(rows.map { $0.joined(separator: separator) }.joined(separator: "\n"))
        #expect(data.schema.columnNames == ["a, b; c", "d"])
        #expect(try data.train.x.floats() == [1.5, 2, -3, 4])
    }

    @Test func decimalCommas() throws {
        let data = try read("label;a;b\n0;1,5;2\n1;-2,25;3,0\n")
        #expect(try data.train.x.floats() == [1.5, 2, -2.25, 3])
        let table = "label;a\n0;1,234\n1;2,345\n"
        #expect(error(table)?.hint?.contains("--decimal") == true)
        #expect(try read(table) { $0.decimal = UInt8(ascii: ",") }.train.x.floats() == [1.234, 2.345])
    }

    @Test func sixteenBitText() throws {
        let units = Array("label,a\n0,1\n1,é\n".utf16)
        let bytes: [UInt8] = [0xff, 0xfe] + units.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
        var options = DatasetOptions(testFraction: 0)
        options.categoryColumns = ["a"]
        let data = try Dataset(storedBytes: bytes, name: "x", options: options)
        #expect(data.schema.inputShape == [2])
    }

    @Test func numbersAreRoundedCorrectly() throws {
        let texts = [
            "0.1", "-0.0", "123456789", "3.4028234663852886e38", "1e-45", "0.000000000000000000000000000000001",
            "9007199254740993", "1.00000017881393432617187499", "16777217", "\"2.5\"", " 3 ", "+4", ".5", "6.",
            "1234567890123456789012345", "1e-400", "0e999999", "2.2250738585072011e-308",
        ]
        let data = try read(texts.enumerated().map { "\($0.offset % 2),\($0.element)" }.joined(separator: "\n"), first)
        let values = try data.train.x.floats()
        for (text, value) in zip(texts, values) {
            let plain = text.filter { $0 != "\"" && $0 != " " }
            let padded = plain.hasSuffix(".") ? plain + "0" : plain.hasPrefix(".") ? "0" + plain : plain
            // The value goes through Double, as in numpy.
            #expect(value == Float(try #require(Double(padded))), "\(text)")
        }
    }

    // MARK: Folders

    @Test func trainAndTestFilesByName() throws {
        try withScratch { folder in
            try Files.writeAtomically(Array("kind,a,b\ncat,1,2\ndog,3,4\n".utf8), to: "\(folder)/train.csv")
            try Files.writeAtomically(
                try Gzip.compress(Array("b,kind,a\n0.5,dog,1\n".utf8)), to: "\(folder)/test.csv.gz")
            var options = DatasetOptions()
            options.labelColumn = "kind"
            let data = try Dataset(path: folder, options: options)
            #expect(data.classNames == ["cat", "dog"])
            #expect(try data.test?.y.integers() == [1] && data.test?.x.floats() == [1, 0.5])
            #expect(data.train.x.dtype == .f32)

            try Files.writeAtomically(Array("a\n1\n".utf8), to: "\(folder)/test.csv")
            let missing = failure { _ = try Dataset(path: folder, options: options) }
            #expect(missing?.place?.hasSuffix("test.csv") == true && missing?.message.contains("'b'") == true)
            // Kaggle's has no labels.
            try Files.writeAtomically(Array("a,b\n1,2\n".utf8), to: "\(folder)/test.csv")
            let kaggle = try Dataset(path: folder, options: options)
            #expect(kaggle.isSplit && kaggle.decisions.contains { $0.isWarning && $0.text.contains("no label column") })
            // Which the label is can be seen by that, wherever it stands.
            try Files.writeAtomically(Array("a,kind,b\n1,cat,2\n3,dog,4\n".utf8), to: "\(folder)/train.csv")
            options.labelColumn = nil
            let found = try Dataset(path: folder, options: options)
            #expect(found.classNames == ["cat", "dog"])
            #expect(found.decisions.contains { $0.subject == "label" && $0.text.contains("the test set lacks") })
            options.ignoredColumns = ["kind"]
            #expect(failure { _ = try Dataset(path: folder, options: options) }?.code == .usage)
        }
    }

    @Test func featuresAndLabelsInFilesOfTheirOwn() throws {
        try withScratch { folder in
            for (name, text) in [
                ("X_train", "a,b\n1,2\n3,4\n5,6\n"), ("y_train", "price\n1.5\n2.5\n3.5\n"), ("X_test", "b,a\n8,7\n"),
                ("y_test", "price\n4.5\n"),
            ] { try Files.writeAtomically(Array(text.utf8), to: "\(folder)/\(name).csv") }
            let data = try Dataset(path: folder)
            #expect(try data.train.y.floats() == [1.5, 2.5, 3.5] && data.test?.y.floats() == [4.5])
            #expect(try data.test?.x.floats() == [7, 8])
            try Files.writeAtomically(Array("price\n1.5\n".utf8), to: "\(folder)/y_train.csv")
            #expect(failure { _ = try Dataset(path: folder) }?.code == .mismatch)
        }
    }

    // MARK: Refusals

    @Test(arguments: [
        ("one column", "1\n2\n", "1 field"), ("too few", "1,2,3\n1,2\n", "2 fields"),
        ("too many", "1,2\n1,2,3\n1,2\n1,2\n", "3 fields"), ("a word", "1,2\n1,two\n", "'two' is no number"),
        ("infinity", "1,2\n1,inf\n", "no number"), ("hex", "1,2\n1,0x10\n", "no number"),
        ("too large", "1,2\n1,1e39\n", "too large"), ("open quote", "1,2\n1,\"3\n", "no end"),
        ("behind a quote", "1,2\n1,\"3\"4\n", "follows"), ("no label", "1,2\n,3\n", "label is empty"),
        ("names only", "a,b\n", "only names"), ("text", "once upon a time", "only names"),
        ("two points", "1,2\n1,2.3.4\n", "no number"), ("sign only", "1,2\n1,-\n", "no number"),
        ("binary", "1,2\n\u{0}1,2\n", "known"),
    ])
    func refuses(what: String, text: String, words: String) throws {
        let error = error(text) { $0.labelColumn = "0" }
        #expect(error?.summary.contains(words) == true, "\(what): \(error?.summary ?? "no error")")
    }
}
