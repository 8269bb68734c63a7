import Reports
import Testing

@Suite struct TrialsReportTests {
    static func report(_ grid: TrialsReport.Grid?) -> TrialsReport {
        TrialsReport(
            title: "rates", subtitle: "<two>",
            table: .init(head: ["trial", "x"], rows: [["a", "1"], ["<b>", "2"]], emphasised: 0),
            note: "noted",
            curves: [
                .init(name: "first", rounds: RunReport.sample.rounds), .init(name: "</svg>", rounds: []),
                .init(
                    name: "third",
                    rounds: RunReport.sample.rounds.map {
                        var round = $0
                        round.validationLoss = .nan
                        return round
                    }),
            ], grid: grid)
    }

    @Test func everyPartIsThere() throws {
        let cells = [(0.5, "50 %"), (nil, "–"), (0.9, "90 %"), (.nan, "–")].map {
            TrialsReport.Grid.Cell(value: $0.0, text: $0.1, note: "3 rounds")
        }
        let page = Self.report(
            .init(
                columns: "rate", columnValues: ["0.1", "1"], rows: "batch<", rowValues: ["8", "16"], cells: cells)
        ).html()
        try expectBalanced(page)
        for part in [
            "rates", "&lt;two&gt;", "&lt;b&gt;", "batch&lt;", "90 %", "noted", "Validation loss", "&lt;/svg&gt;",
        ] {
            #expect(page.contains(part), "the page lacks \"\(part)\"")
        }
        #expect(page.components(separatedBy: "class=\"heat\"").count - 1 == 4)
        #expect(page.contains("fill-opacity=\"0.50\"") && page.contains("fill-opacity=\"0.05\""))
        #expect(!page.contains("\"nan") && !page.contains("<script"))
        #expect(
            page
                == Self.report(
                    .init(
                        columns: "rate", columnValues: ["0.1", "1"], rows: "batch<", rowValues: ["8", "16"],
                        cells: cells)
                ).html())
    }

    @Test func oneSettingIsARow() throws {
        let cells = (0..<3).map { TrialsReport.Grid.Cell(value: 0.5, text: "\($0)", note: "") }
        let page = Self.report(.init(columns: "rate", columnValues: ["1", "2", "3"], cells: cells)).html()
        try expectBalanced(page)
        try expectBalanced(Self.report(nil).html())
        // Fewer cells than there are places, as of a file that was changed.
        try expectBalanced(Self.report(.init(columns: "rate", columnValues: ["1", "2"], cells: [])).html())
    }
}
