import Foundation
import Reports
import Testing

/// Every label of the page can be read: 4.5 to 1 and more, as WCAG 2.2 asks of small text (1.4.3), and 3 to 1 of lines and
/// spots (1.4.11), worked out from the style sheet's own values.
@Suite struct ContrastTests {
    struct Theme: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var palette: Palette

        func colour(_ name: String) throws -> [Double] {
            let hex = try #require(palette.colours.first { $0.name == name }?.hex, "no colour \(name)")
            return try #require(Self.parsed(hex), "\(name) is \(hex)")
        }

        private static func parsed(_ hex: String) -> [Double]? {
            guard hex.count == 7, hex.first == "#", let value = Int(hex.dropFirst(), radix: 16) else { return nil }
            return [value >> 16, value >> 8 & 255, value & 255].map { Double($0) / 255 }
        }
    }

    static let themes = [
        Theme(testDescription: "light", palette: .light), Theme(testDescription: "dark", palette: .dark),
    ]

    /// Relative luminance and contrast ratio as WCAG 2.2 defines them.
    private func luminance(_ colour: [Double]) -> Double {
        let linear = colour.map { $0 <= 0.04045 ? $0 / 12.92 : pow(($0 + 0.055) / 1.055, 2.4) }
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    private func contrast(_ first: [Double], _ second: [Double]) -> Double {
        let (one, other) = (luminance(first), luminance(second))
        return (max(one, other) + 0.05) / (min(one, other) + 0.05)
    }

    @Test func theFormulaIsThatOfTheStandard() {
        #expect(abs(contrast([0, 0, 0], [1, 1, 1]) - 21) < 1e-9)
        // #777 on white, the known case that just fails.
        #expect(abs(contrast([119 / 255, 119 / 255, 119 / 255], [1, 1, 1]) - 4.478) < 0.001)
    }

    @Test(arguments: themes) func textOnPageAndPanel(theme: Theme) throws {
        for text in ["ink", "muted", "accent", "wrong", "good"] {
            for ground in ["page", "panel"] {
                let ratio = contrast(try theme.colour(text), try theme.colour(ground))
                #expect(ratio >= 4.5, "\(text) on \(ground): \(ratio)")
            }
        }
    }

    @Test(arguments: themes) func labelsOnTheColoursOfClasses(theme: Theme) throws {
        for label in 0..<10 {
            let ratio = contrast(try theme.colour("inbar"), try theme.colour("class\(label)"))
            #expect(ratio >= 4.5, "on class \(label): \(ratio)")
        }
    }

    @Test(arguments: themes) func numbersOnEveryStrengthOfAHeatMap(theme: Theme) throws {
        let (ink, panel) = (try theme.colour("ink"), try theme.colour("panel"))
        for colour in ["accent", "wrong"] {
            let heat = try theme.colour(colour)
            for step in 0...20 {
                let opacity = Palette.strongestHeat * Double(step) / 20
                let blended = zip(heat, panel).map { $0 * opacity + $1 * (1 - opacity) }
                let ratio = contrast(ink, blended)
                #expect(ratio >= 4.5, "\(colour) at \(opacity): \(ratio)")
            }
        }
    }

    @Test(arguments: themes) func linesAndSpotsOnThePanel(theme: Theme) throws {
        let names = ["accent", "other", "third", "validation", "good"] + (0..<10).map { "class\($0)" }
        for name in names {
            let ratio = contrast(try theme.colour(name), try theme.colour("panel"))
            #expect(ratio >= 3, "\(name): \(ratio)")
        }
    }

    @Test func everyColourOfThePageIsInBothThemes() {
        #expect(Palette.light.colours.map(\.name) == Palette.dark.colours.map(\.name))
        let names = Set(Palette.light.colours.map(\.name))
        let page = RunReport.sample.html()
        for use in page.split(separator: "var(--").dropFirst() {
            let name = String(use.prefix { $0 != ")" })
            #expect(names.contains(name) || name == "heat", "no colour \(name)")
        }
    }
}
