import Datasets
import Tensors
import Testing

@Suite struct CSVTests {
    private func read(_ text: String, _ options: DatasetOptions = DatasetOptions(testFraction: 0)) throws -> Dataset {
        var dataset: Dataset?
        try withScratch { folder in
            try Files.writeAtomically(Array(text.utf8), to: "\(folder)/data.csv")
            dataset = try Dataset(path: "\(folder)/data.csv", options: options)
        }
        return try #require(dataset)
    }

    @Test func labelFirstAsMNIST() throws {
        let data = try read("7,0,255,3\n2,1,2,3\r\n\n1,4,5,6")
        #expect(data.train.x.dtype == .u8 && data.train.x.shape == [3, 3])
        #expect(try data.train.x.integers() == [0, 255, 3, 1, 2, 3, 4, 5, 6])
        #expect(try data.train.y.integers() == [7, 2, 1])
        #expect(data.classes == 8 && data.classNames == nil)
    }

    @Test func aHeaderIsRecognised() throws {
        let data = try read("a,label,b\n0.5,1,-2e-3\n1,0,1e3\n")
        #expect(data.train.x.dtype == .f32)
        #expect(try data.train.x.floats() == [0.5, -2e-3, 1, 1000])
        #expect(try data.train.y.integers() == [1, 0])
    }

    @Test func namedColumnAndNamedClasses() throws {
        let options = DatasetOptions(testFraction: 0, labelColumn: "species")
        let data = try read(
            "\u{feff}width;height;species\n1.5;2;\"setosa; \"\"wild\"\"\"\n2.5;3;virginica\n0;0;virginica\n", options)
        #expect(data.classNames == ["setosa; \"wild\"", "virginica"])
        #expect(try data.train.y.integers() == [0, 1, 1])
        #expect(try data.train.x.floats() == [1.5, 2, 2.5, 3, 0, 0])
    }

    @Test func numbersToPredict() throws {
        let data = try read("0.5,1,2\n-1.25,3,4\n")
        #expect(data.classes == nil)
        #expect(data.train.y.shape == [2, 1])
        #expect(try data.train.y.floats() == [0.5, -1.25])
        let whole = try read("5,1\n6,2\n", DatasetOptions(testFraction: 0, labels: .numbers))
        #expect(whole.classes == nil)
    }

    @Test func numbersAreRoundedCorrectly() throws {
        let texts = [
            "0.1", "-0.0", "123456789", "3.4028234663852886e38", "1e-45", "0.000000000000000000000000000000001",
            "9007199254740993", "1.00000017881393432617187499", "16777217", "\"2.5\"", " 3 ", "+4", ".5", "6.",
            "1234567890123456789012345", "1e-400", "0e999999", "2.2250738585072011e-308",
        ]
        let data = try read(texts.map { "0,\($0)" }.joined(separator: "\n"))
        let values = try data.train.x.floats()
        for (text, value) in zip(texts, values) {
            let plain = text.filter { $0 != "\"" && $0 != " " }
            let padded = plain.hasSuffix(".") ? plain + "0" : plain.hasPrefix(".") ? "0" + plain : plain
            // The value goes through Double, as in numpy.
            #expect(value == Float(try #require(Double(padded))), "\(text)")
        }
    }

    @Test func trainAndTestFiles() throws {
        try withScratch { folder in
            try Files.writeAtomically(Array("cat,1\ndog,2\n".utf8), to: "\(folder)/train.csv")
            try Files.writeAtomically(try Gzip.compress(Array("dog,0.5\n".utf8)), to: "\(folder)/test.csv.gz")
            let data = try Dataset(path: folder)
            #expect(data.classNames == ["cat", "dog"])
            #expect(try data.test?.y.integers() == [1])
            #expect(data.train.x.dtype == .f32 && data.test?.x.dtype == .f32)
        }
    }

    @Test(arguments: [
        ("one column", "1\n2\n", "1 field"), ("too few", "1,2,3\n1,2\n", "2 of 3"),
        ("too many", "1,2\n1,2,3\n", "more than 2"),
        ("a word", "1,2\n1,two\n", "'two' is no number"), ("empty field", "1,2,3\n1,,3\n", "empty"),
        ("infinity", "1,2\n1,inf\n", "no number"), ("NaN", "1,2\n1,nan\n", "no number"),
        ("hex", "1,2\n1,0x10\n", "no number"),
        ("too large", "1,2\n1,1e39\n", "too large"), ("open quote", "1,2\n1,\"3\n", "no end"),
        ("behind a quote", "1,2\n1,\"3\"4\n", "follows"), ("no label", "1,2\n,3\n", "label is empty"),
        ("header only", "a,b\n", "no line"), ("text", "once upon a time", "field"),
        ("two points", "1,2\n1,2.3.4\n", "no number"), ("sign only", "1,2\n1,-\n", "no number"),
        ("negative class", "-1,2\n1,3\n", ""),
    ])
    func refuses(what: String, text: String, words: String) throws {
        let error = failure { _ = try read(text) }
        if what == "negative class" {
            // Labels of which one is negative are numbers to predict, unless they must be classes.
            #expect(error == nil)
            let forced = failure { _ = try read(text, DatasetOptions(testFraction: 0, labels: .classes)) }
            #expect(forced == nil, "as names they are two classes")
        } else {
            #expect(error?.message.contains(words) == true, "\(what): \(error?.summary ?? "no error")")
        }
    }

    @Test func anErrorSaysLineAndColumn() throws {
        let error = failure { _ = try read("1,2,3\n\n4,5,6\n7,8,x\n") }
        #expect(error?.place?.hasSuffix("data.csv: line 4, column 3") == true, "\(error?.summary ?? "no error")")
        let missing = failure { _ = try read("a,b\n1,2\n", DatasetOptions(labelColumn: "c")) }
        #expect(missing?.code == .missing && missing?.hint == "the first line has 'a', 'b'")
    }
}
