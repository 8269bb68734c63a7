import Golem
import Synchronization

/// A daemon with providers behind it, in this process: answers every call that a rental makes, with faults on order.
actor FakeNetwork {
    struct Faults: Sendable {
        var overbill = 1.0
        /// Every event is reported twice.
        var repeatsEvents = false
        /// So many waits for an approval end with 408 first.
        var slowApprovals = 0
        /// The provider with this number ends its agreement when its first batch after preparation comes.
        var leaving: Int?
        /// Providers that turn down proposals.
        var busy: Set<Int> = []
        /// An activity runs at once, and the answer that it does comes so much later.
        var slowCreation: Duration = .zero
        /// An activity runs at its provider, but the daemon loses the answer and knows of no activity.
        var losesCreation = false
        /// The agreement reaches its provider so much later than it is sent.
        var slowConfirmation: Duration = .zero
        /// The allocation is made, the demand published, but the answer is lost; once each.
        var losesAnswers: Set<String> = []
        /// Providers that refuse agreements.
        var refusing: Set<Int> = []
        var sendsNoInvoice = false
        /// What stands in every invoice.
        var invoiceAmount: String?
        var platform = "erc20-hoodi-tglm"
        /// The daemon's clock, against ours.
        var clock: Duration = .zero
        /// What the first allocation pays before it is used up.
        var firstAllocationPays: Amount?
        /// Demands are forgotten after so many polls.
        var forgetsDemandAfter: Int?
    }

    var faults: Faults
    let providers: Int
    let perSecond = 0.01
    private(set) var allocations: Set<String> = []
    private(set) var demands: Set<String> = []
    private(set) var openActivities: Set<String> = []
    private(set) var openAgreements: Set<String> = []
    private(set) var accepted: [String: Amount] = [:]
    private(set) var acceptances: [String] = []
    private(set) var rejected: [String: String] = [:]
    private(set) var calls: [String] = []
    private var counter = 0
    private var proposed: [String: Set<Int>] = [:]
    private var marketEvents: [String: [JSON]] = [:]
    private var polls = 0
    private var providerOf: [String: Int] = [:]
    private var startedAt: [String: Timestamp] = [:]
    private var endedAt: [String: Timestamp] = [:]
    private var batches: [String: Int] = [:]
    private var agreementEvents: [JSON] = []
    private var invoiceEvents: [JSON] = []
    private var noteEvents: [JSON] = []
    private var documents: [String: JSON] = [:]

    init(providers: Int, faults: Faults = Faults()) {
        self.providers = providers
        self.faults = faults
    }

    nonisolated var script: ScriptedServer.Script {
        { request in
            if await self.isAway { return .hangUp }
            let reply = await self.answer(request)
            guard case .answer(let status, let text) = reply else { return reply }
            try? await Task.sleep(for: await self.delay)
            let clock = await self.faults.clock
            return await self.isAway ? .hangUp : .dated(status, text, .now() + clock)
        }
    }

    /// Somebody sets the daemon's clock.
    func setClock(_ difference: Duration) { faults.clock = difference }

    /// Every answer comes so much later: the computer has too much to do.
    private var delay = Duration.zero
    func setDelay(_ delay: Duration) { self.delay = delay }

    /// The daemon is not there; what providers do goes on.
    private var isAway = false
    func setAway(_ isAway: Bool) { self.isAway = isAway }

    /// An agreement and an allocation that a crashed run left.
    func leaveBehind(agreement: String, activity: String, allocation: String) {
        allocations.insert(allocation)
        openAgreements.insert(agreement)
        openActivities.insert(activity)
        providerOf[agreement] = 0
        startedAt[agreement] = .now()
        startedAt[activity] = .now()
        agreementOf[activity] = agreement
    }

    func leaveBehind(allocation: String, total: Amount, timeout: Timestamp) {
        allocations.insert(allocation)
        allocationBodies[allocation] = [
            "allocationId": .string(allocation), "totalAmount": .string(total.description),
            "timeout": .string(timeout.description),
        ]
    }

    private func next(_ prefix: String) -> String {
        counter += 1
        return "\(prefix)\(counter)"
    }

    private func offer(_ provider: Int) -> JSON {
        [
            "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
            "golem.com.pricing.model": "linear",
            "golem.com.pricing.model.linear.coeffs": [JSON(perSecond), 0, 0], "golem.inf.cpu.threads": 1,
            "golem.node.id.name": .string("provider-\(provider)"), "golem.node.debug.subnet": "public",
            "golem.runtime.name": "vm", "golem.inf.mem.gib": 4, "golem.inf.storage.gib": 20,
            "golem.inf.cpu.cores": 1,
            "golem.com.payment.platform.erc20-hoodi-tglm.address": "0x1",
            "golem.com.payment.debit-notes.accept-timeout?": 60,
        ]
    }

    /// Waits as a long poll does.
    private func waiting(_ request: ScriptedRequest, _ events: () -> [JSON]) async -> ScriptedReply {
        let limit = min(Double(request.query["timeout"] ?? "0") ?? 0, 1)
        for _ in 0..<Int(limit * 100) + 1 {
            let found = events()
            if !found.isEmpty { return .json(.array(faults.repeatsEvents ? found + found : found)) }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return .json([])
    }

    private func after(_ events: [JSON], _ request: ScriptedRequest) -> [JSON] {
        let since = request.query["afterTimestamp"].flatMap { Timestamp($0) } ?? Timestamp(nanoseconds: 0)
        // A daemon that repeats itself does not heed the time.
        return events.filter { ($0["eventDate"]?.timestamp ?? since) > since }
    }

    private func answer(_ request: ScriptedRequest) async -> ScriptedReply {
        calls.append(request.line)
        let path = request.path.split(separator: "/").map(String.init)
        switch path.first {
        case "me": return .json(["identity": "0xme", "name": "me", "role": "manager"])
        case "payment-api": return await payment(request, Array(path.dropFirst(2)))
        case "market-api": return await market(request, Array(path.dropFirst(2)))
        case "activity-api": return await activity(request, Array(path.dropFirst(3)))
        default: return .json(["message": nil], status: 404)
        }
    }

    // MARK: Payment

    private func payment(_ request: ScriptedRequest, _ path: [String]) async -> ScriptedReply {
        switch (request.method, path.first, path.count) {
        case ("POST", "allocations", 1):
            let id = next("allocation")
            allocations.insert(id)
            allocationsMade += 1
            let isUsedUp = allocationsMade == 1 && faults.firstAllocationPays != nil
            let made: JSON = [
                "allocationId": .string(id), "totalAmount": request.body["totalAmount"] ?? "0",
                "remainingAmount": isUsedUp ? .string("0") : request.body["totalAmount"] ?? .string("0"),
                "timeout": request.body["timeout"] ?? nil, "createdTs": stamp(),
            ]
            allocationBodies[id] = made
            return faults.losesAnswers.remove("allocations") == nil ? .json(made, status: 201) : .hangUp
        case ("GET", "allocations", 1):
            return .json(.array(allocationBodies.filter { allocations.contains($0.key) }.map(\.value)))
        case ("PUT", "allocations", 2): return .json(["allocationId": .string(path[1]), "totalAmount": "1"])
        case ("DELETE", "allocations", 2):
            return allocations.remove(path[1]) == nil ? .json(["message": nil], status: 410) : .json(nil)
        case (_, "demandDecorations", _):
            return .json([
                "properties": [["key": "golem.com.payment.platform.erc20-hoodi-tglm.address", "value": "0xme"]],
                "constraints": ["(golem.com.payment.protocol.version>1)"],
            ])
        case (_, "debitNoteEvents", _): return await waiting(request) { after(noteEvents, request) }
        case (_, "invoiceEvents", _): return await waiting(request) { after(invoiceEvents, request) }
        case ("GET", "debitNotes", 1): return .json(.array(documents.values.filter { $0["debitNoteId"] != nil }))
        case ("GET", "invoices", 1): return .json(.array(documents.values.filter { $0["invoiceId"] != nil }))
        case ("GET", _, 2): return documents[path[1]].map { .json($0) } ?? .json(["message": nil], status: 404)
        case ("POST", _, 3) where path[2] == "accept":
            guard let amount = request.body["totalAmountAccepted"]?.amount,
                allocations.contains(request.body["allocationId"]?.string ?? "")
            else { return .json(["message": "Allocation not found"], status: 400) }
            if allocationsMade == 1, let limit = faults.firstAllocationPays, amount > limit {
                return .json(["message": .string("Not enough funds. Allocated: 1. Needed: \(amount)")], status: 400)
            }
            acceptances.append(path[1])
            accepted[path[1]] = amount
            set(path[1], "status", "ACCEPTED")
            return .json(nil)
        case ("POST", _, 3) where path[2] == "reject":
            rejected[path[1]] = request.body["message"]?.string
            set(path[1], "status", "REJECTED")
            return .json(nil)
        default: return .json(["message": nil], status: 404)
        }
    }

    private func set(_ document: String, _ field: String, _ value: JSON) {
        guard var fields = documents[document]?.object else { return }
        fields[field] = value
        documents[document] = .object(fields)
    }

    private func bill(_ agreement: String, seconds: Double) -> Amount {
        Amount(glm: seconds * perSecond * faults.overbill) ?? .zero
    }

    private func sendNote(_ activity: String, _ agreement: String) {
        guard let start = startedAt[activity] else { return }
        let id = next("note")
        let seconds = (Timestamp.now() - start).inSeconds
        documents[id] = [
            "debitNoteId": .string(id), "agreementId": .string(agreement), "activityId": .string(activity),
            "totalAmountDue": .string(bill(agreement, seconds: seconds).description), "status": "RECEIVED",
            "usageCounterVector": [JSON(seconds), 0], "paymentPlatform": .string(faults.platform),
        ]
        noteEvents.append(event("DebitNoteReceivedEvent", "debitNoteId", id))
    }

    private func sendInvoice(_ agreement: String) {
        guard let start = startedAt[agreement], !faults.sendsNoInvoice else { return }
        let id = next("invoice")
        // What an honest provider bills: from the start of each activity to its end.
        let activities = agreementOf.filter { $0.value == agreement }.keys
        let spans = activities.map { (startedAt[$0] ?? start, endedAt[$0] ?? .now()) }
        let seconds = spans.reduce(0) { $0 + ($1.1 - $1.0).inSeconds }
        var text = bill(agreement, seconds: seconds).description
        if !text.contains(".") { text += "." }
        // Padded, as the daemon does at times.
        text += String(repeating: "0", count: max(0, 18 - (text.split(separator: ".").last?.count ?? 0)))
        documents[id] = [
            "invoiceId": .string(id), "agreementId": .string(agreement),
            "amount": .string(faults.invoiceAmount ?? text), "status": "RECEIVED",
            "paymentPlatform": .string(faults.platform),
        ]
        invoiceEvents.append(event("InvoiceReceivedEvent", "invoiceId", id))
        startedAt[agreement] = nil
    }

    private func event(_ kind: String, _ key: String, _ id: String) -> JSON {
        ["eventType": .string(kind), key: .string(id), "eventDate": stamp()]
    }

    // MARK: Market

    private func market(_ request: ScriptedRequest, _ path: [String]) async -> ScriptedReply {
        switch (request.method, path.first, path.last) {
        case ("POST", "demands", "demands"):
            let id = next("demand")
            demands.insert(id)
            demandBodies[id] = ["demandId": .string(id), "properties": request.body["properties"] ?? nil]
            return faults.losesAnswers.remove("demands") == nil ? .json(.string(id), status: 201) : .hangUp
        case ("GET", "demands", "demands"):
            return .json(.array(demandBodies.filter { demands.contains($0.key) }.map(\.value)))
        case ("DELETE", "demands", _):
            return demands.remove(path[1]) == nil ? .json(["message": "no"], status: 404) : .answer(204, "")
        case ("GET", "demands", "events"): return await demandEvents(request, path[1])
        case ("POST", "demands", "reject"): return .answer(204, "")
        case ("POST", "demands", let proposal?):
            let number = providerOf[proposal] ?? 0
            let ours = next("ours")
            if faults.busy.contains(number) {
                marketEvents[path[1], default: []].append([
                    "eventType": "ProposalRejectedEvent", "proposalId": .string(ours),
                    "reason": ["message": "busy", "golem.proposal.rejection.is-final": false],
                ])
            } else {
                marketEvents[path[1], default: []].append(proposalEvent(number, "Draft", answering: ours))
            }
            return .json(.string(ours))
        case ("POST", "agreements", "agreements"):
            let id = next("agreement")
            providerOf[id] = providerOf[request.body["proposalId"]?.string ?? ""]
            return .json(.string(id))
        case ("POST", "agreements", "confirm"):
            try? await Task.sleep(for: faults.slowConfirmation)
            openAgreements.insert(path[1])
            startedAt[path[1]] = .now()
            return .answer(204, "")
        case ("POST", "agreements", "wait"):
            if faults.slowApprovals > 0 {
                faults.slowApprovals -= 1
                return .json(["message": "Timeout"], status: 408)
            }
            if let number = providerOf[path[1]], faults.refusing.contains(number) {
                openAgreements.remove(path[1])
                return .json(["message": "Rejected"], status: 410)
            }
            return .answer(204, "")
        case ("POST", "agreements", "cancel"):
            // One that is not at its provider cannot be taken back, one that was approved neither.
            return .json(["message": "it cannot be cancelled"], status: 409)
        case ("POST", "agreements", "terminate"):
            guard openAgreements.remove(path[1]) != nil else { return .json(["message": "Terminated"], status: 410) }
            // A provider ends with an agreement what runs under it.
            for activity in openActivities where agreementOf[activity] == path[1] {
                openActivities.remove(activity)
                endedAt[activity] = .now()
            }
            sendInvoice(path[1])
            return .answer(200, "")
        case ("GET", "agreements", _):
            let state = openAgreements.contains(path[1]) ? "Approved" : "Terminated"
            return .json([
                "agreementId": .string(path[1]), "state": .string(state),
                "offer": ["providerId": "0x1", "properties": [:]],
            ])
        case ("GET", "agreementEvents", _): return await waiting(request) { after(agreementEvents, request) }
        default: return .json(["message": nil], status: 404)
        }
    }

    private func proposalEvent(_ provider: Int, _ state: String, answering: String? = nil) -> JSON {
        let id = next("proposal")
        providerOf[id] = provider
        var proposal: [String: JSON] = [
            "proposalId": .string(id), "issuerId": .string("0x\(provider)"), "state": .string(state),
            "properties": offer(provider), "constraints": "()", "timestamp": .string(Timestamp.now().description),
        ]
        proposal["prevProposalId"] = answering.map { .string($0) }
        return ["eventType": "ProposalEvent", "eventDate": "2026-11-23T19:17:01Z", "proposal": .object(proposal)]
    }

    private func demandEvents(_ request: ScriptedRequest, _ demand: String) async -> ScriptedReply {
        polls += 1
        if let limit = faults.forgetsDemandAfter, polls > limit {
            faults.forgetsDemandAfter = nil
            demands.remove(demand)
        }
        let limit = min(Double(request.query["timeout"] ?? "0") ?? 0, 1)
        for _ in 0..<Int(limit * 100) + 1 {
            guard demands.contains(demand) else { return .json(["message": "no such demand"], status: 404) }
            for provider in 0..<providers where proposed[demand, default: []].insert(provider).inserted {
                marketEvents[demand, default: []].append(proposalEvent(provider, "Initial"))
            }
            if let events = marketEvents.removeValue(forKey: demand), !events.isEmpty {
                return .json(.array(faults.repeatsEvents ? events + events : events))
            }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return .json([])
    }

    // MARK: Activity

    private func activity(_ request: ScriptedRequest, _ path: [String]) async -> ScriptedReply {
        switch (request.method, path.count, path.last) {
        case ("POST", 0, _):
            let agreement = request.body["agreementId"]?.string ?? ""
            guard openAgreements.contains(agreement) else {
                return .json(["message": "GSB error: agreement is not approved"], status: 500)
            }
            let id = next("activity")
            openActivities.insert(id)
            startedAt[id] = .now()
            agreementOf[id] = agreement
            try? await Task.sleep(for: faults.slowCreation)
            guard faults.losesCreation else { return .json(["activityId": .string(id)]) }
            // It ends with its agreement, and bills what it was there.
            openActivities.remove(id)
            endedAt[id] = .now()
            sendNote(id, agreement)
            return .hangUp
        case ("GET", 0, _): return .json([])
        case ("POST", 2, "exec"):
            let agreement = agreementOf[path[0]] ?? ""
            batches[path[0], default: 0] += 1
            sendNote(path[0], agreement)
            if batches[path[0]] == 2, let leaving = faults.leaving, providerOf[agreement] == leaving {
                faults.leaving = nil
                openAgreements.remove(agreement)
                openActivities.remove(path[0])
                endedAt[path[0]] = .now()
                agreementEvents.append([
                    "eventType": "AgreementTerminatedEvent", "agreementId": .string(agreement),
                    "terminator": "Provider",
                    "eventDate": stamp(),
                    "reason": ["message": "going away", "golem.provider.code": "Shutdown"],
                ])
                sendInvoice(agreement)
            }
            guard case .array(let commands)? = JSON(parsing: request.body["text"]?.string ?? "") else {
                return .json(["message": "not a script"], status: 400)
            }
            let id = next("batch")
            batchSizes[id] = commands.count
            if request.body["text"]?.string?.contains("/bin/sleep") ?? false { endless.insert(id) }
            return .json(.string(id))
        case ("GET", 3, let batch?):
            guard openActivities.contains(path[0]) else {
                return .json(["message": "GSB error: endpoint address not found"], status: 500)
            }
            if endless.contains(batch) { return await waiting(request) { [] } }
            let count = batchSizes[batch] ?? 1
            return .json(
                .array(
                    (0..<count).map {
                        [
                            "index": JSON($0), "result": "Ok", "stdout": "fine",
                            "isBatchFinished": .bool($0 == count - 1),
                        ]
                    }))
        case ("GET", 2, "usage"): return .json(["currentUsage": [0, 0], "timestamp": 1_795_462_173])
        case ("GET", 2, "state"):
            return .json(["state": [openActivities.contains(path[0]) ? "Ready" : "Terminated", nil]])
        case ("DELETE", 1, _):
            if openActivities.remove(path[0]) != nil { endedAt[path[0]] = .now() }
            return .json(nil)
        default: return .json(["message": nil], status: 404)
        }
    }

    private var agreementOf: [String: String] = [:]
    private var allocationBodies: [String: JSON] = [:]
    private var allocationsMade = 0

    /// What `yagna payment release-allocations` does.
    func releaseAllocations() { allocations = [] }

    private func stamp() -> JSON { .string((Timestamp.now() + faults.clock).description) }
    private var demandBodies: [String: JSON] = [:]

    /// Waits until a call has come in whose path ends so.
    func received(_ end: String) async throws {
        while !calls.contains(where: { $0.hasSuffix(end) }) { try await Task.sleep(for: .milliseconds(1)) }
    }
    private var batchSizes: [String: Int] = [:]
    /// Batches that sleep, and never end.
    private var endless: Set<String> = []

    /// What must be gone at the end.
    var leftovers: [String] {
        allocations.sorted() + demands.sorted() + openActivities.sorted() + openAgreements.sorted()
    }
}
