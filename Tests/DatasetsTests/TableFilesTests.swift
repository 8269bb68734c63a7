import Datasets
import Tensors
import TestSupport
import Testing

/// A folder of tables that are one: a hospital, a site, a year each.
@Suite struct TableFilesTests {
    private func read(
        _ files: [String: String], _ change: (inout DatasetOptions) -> Void = { _ in },
        _ body: (Dataset, String) throws -> Void
    ) throws {
        let scratch = try ScratchFolder()
        for (name, text) in files { try Files.writeAtomically(Array(text.utf8), to: Files.path(scratch.path, name)) }
        var options = DatasetOptions(testFraction: 0)
        change(&options)
        try body(try Dataset(path: scratch.path, options: options), scratch.path)
    }

    private func error(_ files: [String: String]) -> DeMLError? {
        failure { try read(files) { (_: Dataset, _: String) in } }
    }

    private static let sites = [
        "north.csv": "age,sex,ill\n20,f,no\n30,m,yes\n40,f,no\n",
        // Another order, another separator, a decimal comma, a category and a gap that the first does not have.
        "south.csv": "sex;ill;age\nm;yes;50,5\nx;no;\n",
        "west.csv": "ill,age,sex\nno,70,f\n",
    ]

    @Test func columnsAreTakenByName() throws {
        try read(Self.sites) { (data, _) throws in
            #expect(data.schema.columnNames == ["age", "sex"] && data.schema.classNames == ["no", "yes"])
            // age, age is missing, sex is f, m, x.
            #expect(data.train.x.shape == [6, 5])
            #expect(
                try data.train.x.floats() == [
                    20, 0, 1, 0, 0, 30, 0, 0, 1, 0, 40, 0, 1, 0, 0, 50.5, 0, 0, 1, 0, 0, 1, 0, 0, 1, 70, 0, 1, 0, 0,
                ])
            #expect(try data.train.y.integers() == [0, 1, 0, 1, 0, 0])
            let files = data.decisions.first { $0.subject == "files" }
            #expect(files?.text.contains("'south.csv (2 rows)'") == true)
        }
    }

    @Test func eachFileIsAClient() throws {
        try read(Self.sites) { (data, folder) throws in
            #expect(try data.clients(.byFile) == 3)
            #expect(try data.partition(.byFile, parts: 3, seed: 0) == [[0, 1, 2], [3, 4], [5]])
            // A model of these columns finds them in such a folder, and in one file.
            var options = DatasetOptions()
            options.schema = data.schema
            #expect(try ModelExamples(path: folder, options: options).all().rows.count == 6)
            #expect(try ModelExamples(path: Files.path(folder, "west.csv"), options: options).all().x.shape == [1, 5])
        }
    }

    @Test func aTestSetIsApart() throws {
        try read(Self.sites.merging(["test.csv": "age,sex,ill\n1,f,yes\n"]) { first, _ in first }) { (data, _) throws in
            #expect(data.train.count == 6 && data.test?.count == 1)
        }
        // One that is called train is the training set; what is left over is said.
        try read([
            "train.csv": "a,label\n1.5,0\n2.5,1\n3.5,0\n4.5,1\n", "test.csv": "a,label\n1.5,0\n",
            "old.csv": "x,y,z\n1,2,3\n",
        ]) { (data, _) throws in
            #expect(data.train.count == 4 && data.test?.count == 1 && data.groups == nil)
            #expect(data.decisions.first { $0.subject == "not used" }?.text == "'old.csv'")
        }
    }

    @Test func filesThatDisagreeAreRefusedByName() {
        let north = Self.sites["north.csv"] ?? ""
        let less = error(["a.csv": north, "b.csv": "age,ill\n1,no\n"])
        #expect(less?.code == .mismatch && less?.message.contains("'sex', which a.csv has") == true)
        #expect(less?.place?.hasSuffix("/b.csv") == true)
        let other = error(["a.csv": north, "b.csv": "Age,sex,ill\n1,f,no\n"])
        #expect(other?.message.contains("'age'") == true && other?.hint?.contains("'Age'") == true)
        let more = error(["a.csv": north, "b.csv": "age,sex,ill,ward\n1,f,no,3\n"])
        #expect(more?.message.contains("'ward', which a.csv does not have") == true)
        let unnamed = error(["a.csv": north, "b.csv": "1,2,3\n4,5,6\n"])
        #expect(unnamed?.message.contains("no names") == true && unnamed?.place?.hasSuffix("/b.csv") == true)
    }

    @Test func errorsNameTheFile() {
        let numbers = "a,label\n" + (0..<60).map { "\($0).5,\($0 % 2)\n" }.joined()
        let word = error(["a.csv": numbers, "b.csv": numbers + "\n7.5,1\noops,1\n"])
        #expect(word?.place?.hasSuffix("/b.csv: line 64, column 'a'") == true)
        let short = error(["a.csv": numbers, "b.csv": numbers + "7.5\n"])
        #expect(short?.place?.hasSuffix("/b.csv") == true && short?.message.hasPrefix("line 62 has 1 field") == true)
    }
}
