import Federation
import Fleets
import Foundation
import Synchronization
import Tensors
import TestSupport
import Testing

@Suite("Every number of a configuration")
struct RangeTests {
    /// What somebody, or something, might write where a number is expected, as JSON.
    private static let extremes = [
        "1e30", "-1e30", "1e308", "-1e308", "9223372036854775807", "-9223372036854775808", "9000000000000000000",
        "18446744073709551615", "1e25", "-1", "0", "1", "0.5", "0.999999999999999", "1e-300", "-1e-300", "1e9",
        "2147483648",
    ]

    /// The number that a configuration has under a key, read from what it writes.
    private func number(_ configuration: RunConfiguration, _ key: String) throws -> Double? {
        let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(configuration)) as? [String: Any]
        let parts = key.split(separator: ".").map(String.init)
        let value = parts.count == 2 ? (object?[parts[0]] as? [String: Any])?[parts[1]] : object?[key]
        return (value as? NSNumber)?.doubleValue
    }

    private func json(_ key: String, _ text: String) throws -> Data {
        let base = String(decoding: try JSONEncoder().encode(TinyProblem.configuration()), as: UTF8.self)
        var object = try #require(try JSONSerialization.jsonObject(with: Data(base.utf8)) as? [String: Any])
        let parts = key.split(separator: ".").map(String.init)
        object[parts[0]] = "PLACE"
        let value = parts.count == 2 ? #"{"\#(parts[1])": \#(text)}"# : text
        let written = String(decoding: try JSONSerialization.data(withJSONObject: object), as: UTF8.self)
        return Data(written.replacingOccurrences(of: #""PLACE""#, with: value).utf8)
    }

    @Test("has a range, and its bounds are what they say", arguments: RunConfiguration.numberRanges.map(\.key))
    func bounds(key: String) throws {
        let range = try #require(RunConfiguration.numberRanges.first { $0.key == key }?.range)
        #expect(range.lower < range.upper && range.lower.isFinite && range.upper.isFinite)
        for value in [Double.nan, .infinity, -.infinity, range.lower.nextDown, range.upper.nextUp] {
            #expect(value == range.exception?.value || !range.contains(value), "\(key): \(value)")
        }
        #expect(range.contains(range.lower) == range.includesLower || range.exception != nil)
        #expect(range.contains(range.upper) == range.includesUpper)
    }

    @Test("no number in the settings is without a range")
    func everyNumberHasOne() throws {
        let written = try JSONEncoder().encode(TinyProblem.configuration())
        let object = try #require(try JSONSerialization.jsonObject(with: written) as? [String: Any])
        let ranges = Set(RunConfiguration.numberRanges.map(\.key))
        // What takes a number and refuses a text; the seed may be any number of its type, and audit is a word or a share.
        for key in object.keys where key != "seed" && key != "audit" {
            let number = try JSONDecoder().decode(RunConfigurationFile.self, from: Data(#"{"\#(key)": 1}"#.utf8))
            let text = try JSONDecoder().decode(RunConfigurationFile.self, from: Data(#"{"\#(key)": "x"}"#.utf8))
            if number.problems.isEmpty, !text.problems.isEmpty { #expect(ranges.contains(key), "\(key) has no range") }
        }
        #expect(ranges.count >= 35 && ranges.contains("golem.start_timeout"))
    }

    @Test(
        "is refused by name, with the value and the range, or is in it",
        arguments: RunConfiguration.numberRanges.map(\.key))
    func refusedOrInRange(key: String) throws {
        let range = try #require(RunConfiguration.numberRanges.first { $0.key == key }?.range)
        for text in Self.extremes {
            let file = try JSONDecoder().decode(RunConfigurationFile.self, from: json(key, text))
            let problems = file.problems + file.configuration.problems()
            let own = problems.filter { $0.key == key }
            if file.problems.contains(where: { $0.key == key }) {
                #expect(own.first?.message.contains("number") == true, "\(key): \(text): \(problems)")
            } else if let value = try number(file.configuration, key), !range.contains(value) {
                #expect(own.first?.message.contains(range.description) == true, "\(key): \(text): \(problems)")
                #expect(own.first?.message.contains("not ") == true)
            }
        }
    }

    @Test(
        "if it is taken, a run can be begun with it",
        arguments: RunConfiguration.numberRanges.map(\.key).filter { !$0.hasPrefix("golem.") })
    func taken(key: String) async throws {
        let range = try #require(RunConfiguration.numberRanges.first { $0.key == key }?.range)
        for text in Self.extremes + ["\(range.lower)", "\(range.upper)"] {
            guard let file = try? JSONDecoder().decode(RunConfigurationFile.self, from: json(key, text)),
                (file.problems + file.configuration.problems()).isEmpty
            else { continue }
            let scratch = try ScratchFolder()
            let plan: RunPlan
            do {
                plan = try RunPlan(
                    configuration: file.configuration, dataset: TinyProblem.dataset(examples: 60),
                    folder: RunFolder(path: scratch.path), threads: 1)
            } catch is ConfigurationError {
                continue
            } catch is DeMLError {
                continue
            }
            let (begun, signal) = AsyncStream.makeStream(of: Void.self)
            let running = Task {
                defer { signal.finish() }
                return try await Run(plan, fleet: SimulatedFleet(threads: 1)) { event in
                    switch event.kind {
                    case .epochFinished, .attemptFailed, .roundFinished: signal.finish()
                    default: break
                    }
                }.run()
            }
            for await _ in begun {}
            running.cancel()
            // Ended well, stopped, or with an error that says why.
            _ = await running.result
        }
    }
}
