import Reports
import Testing

@Suite struct MeasuresTests {
    @Test func aClassifiersMeasuresAreOnThePage() throws {
        var report = RunReport.sample
        #expect(!report.html().contains("Measures on the test set"))
        report.measures = Measures(
            figures: [
                .init("balanced accuracy", 0.9234, isShare: true), .init("ROC AUC", nil), .init("log loss", 0.21),
            ],
            classes: [
                .init(name: "<b>cat", support: 1200, precision: 0.5, recall: nil, f1: 0.25, rocAUC: 0.98765)
            ])
        let page = report.html()
        try expectBalanced(page)
        for part in ["92.34 %", "0.2100", "&lt;b&gt;cat", "1,200", "50.0 %", "0.9877"] {
            #expect(page.contains(part), "the page lacks \"\(part)\"")
        }
        #expect(page.contains("<td>ROC AUC</td><td>–</td>"))
        #expect(!page.contains("residuals"))
    }

    @Test func aRegressionIsDrawn() throws {
        var report = RunReport(title: "numbers", rounds: [])
        let points = (0..<50).map { Measures.Output.Point(target: Double($0), predicted: Double($0) + 0.5) }
        report.measures = Measures(
            figures: [.init("R²", 0.99)],
            outputs: [
                .init(name: "price", points: points),
                .init(
                    name: "odd", points: [.init(target: .nan, predicted: 1), .init(target: 1e308, predicted: -1e308)]),
                .init(name: "empty", points: []),
            ])
        let page = report.html()
        try expectBalanced(page)
        #expect(page.contains("price: predicted against true") && page.contains("price: residuals"))
        #expect(page.components(separatedBy: "<circle").count - 1 >= 100)
        #expect(!page.contains("empty: residuals"))
        #expect(!page.lowercased().contains("\"nan") && !page.contains("\"inf"))
    }

    @Test func manyClassesAreCutOnThePage() throws {
        var report = RunReport(title: "many", rounds: [])
        report.measures = Measures(
            classes: (0..<5000).map {
                .init(name: "c\($0)", support: 1, precision: 1, recall: 1, f1: 1, rocAUC: nil)
            })
        let page = report.html()
        try expectBalanced(page)
        #expect(page.contains("4,800 more classes") && !page.contains("c4999"))
    }
}
