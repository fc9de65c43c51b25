// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {Rosters} from "./Rosters.sol";
import {RoundResults} from "./RoundResults.sol";
import {IMemberRegistry} from "./interfaces/IMemberRegistry.sol";
import {IRoundLedger, RoundResult, RoundState} from "./interfaces/IRoundLedger.sol";

/// @title RoundLedger
/// @dev What every function promises is written in IRoundLedger.sol.
contract RoundLedger is IRoundLedger, EIP712 {
    /* CONSTANTS AND IMMUTABLES */

    /// @inheritdoc IRoundLedger
    string public constant VERSION = "2.0.0";

    /// @inheritdoc IRoundLedger
    uint64 public constant MAX_PAUSE_SECONDS = 7 days;

    bytes32 private constant PAUSE = keccak256("Pause(bytes32 config,uint64 number,uint64 until)");

    uint8 private constant LAST_KIND = 2;
    uint8 private constant SETTLED = 1;
    uint8 private constant ABANDONED = 2;
    uint256 private constant SCORE_BYTES = 8;

    // Marks of a record.
    uint8 private constant OF_ABANDONED = 1;
    uint8 private constant OF_CHALLENGED = 2;
    uint8 private constant OF_DISMISSED = 4;
    uint8 private constant OF_VOID = 8;

    /// @inheritdoc IRoundLedger
    IMemberRegistry public immutable registry;

    /// @inheritdoc IRoundLedger
    address public immutable disputes;

    /// @inheritdoc IRoundLedger
    uint64 public immutable disputeWindowSeconds;

    /// @inheritdoc IRoundLedger
    uint64 public immutable rulingSeconds;

    /* STORAGE */

    /// @dev One slot. 27 bytes leave 108 bits against two results with one digest, both of which a quorum would have
    /// to sign; the time ends in the year 2106.
    struct Record {
        bytes27 digest;
        uint32 recordedAt;
        uint8 marks;
    }

    /// @dev The rounds from `first` to the last one that was recorded when a quorum ruled so.
    struct Voided {
        uint64 first;
        uint64 below;
    }

    mapping(uint64 round => Record) private _records;

    // The roster that recorded last, at first the founding one: its results need no call to find it.
    address private _recordingCode;

    /// @inheritdoc IRoundLedger
    uint64 public recordingVersion;

    /// @inheritdoc IRoundLedger
    uint32 public pausedUntil;

    /// @inheritdoc IRoundLedger
    uint64 public pauses;

    // By ascending `below`.
    Voided[] private _voided;

    // Every round that waits for a ruling, at most one a challenger, and some that did.
    uint64[] private _disputed;

    /* CONSTRUCTOR */

    /// @param registry_ The registry, deployed before, that names this contract's address as its ledger.
    /// @param disputeWindowSeconds_ Time after the record of a round in which it can be challenged.
    /// @param rulingSeconds_ Time after that in which a quorum can rule on a challenged round.
    constructor(IMemberRegistry registry_, uint64 disputeWindowSeconds_, uint64 rulingSeconds_) EIP712("Mycelia", "1") {
        if (address(registry_).code.length == 0) revert NoRegistry(address(registry_));
        address named = registry_.ledger();
        if (named != address(this)) revert NotTheLedger(named);
        registry = registry_;
        disputes = registry_.disputes();
        disputeWindowSeconds = disputeWindowSeconds_;
        rulingSeconds = rulingSeconds_;
        // A member that changed the roster before this transaction must not keep the founding one from recording.
        if (registry_.rosterVersion() == 1) (_recordingCode, recordingVersion) = (registry_.rosterCode(), 1);
        emit WindowsAdopted(disputeWindowSeconds_, rulingSeconds_);
    }

    /* ACTIONS */

    /// @inheritdoc IRoundLedger
    function submitRound(
        RoundResult calldata result,
        bytes calldata scores,
        uint256 signers,
        bytes calldata signatures
    ) external {
        if (block.timestamp < pausedUntil) revert RoundsPaused(pausedUntil);
        _checkSequence(result);
        (address[] memory keys, uint256 needed) = _recordingRoster(result.config);
        _checkOutcome(result, Rosters.active(keys));
        _checkScores(result.scores, scores, keys.length);
        bytes32 digest = RoundResults.hash(result);
        Rosters.requireQuorum(_hashTypedDataV4(digest), signers, signatures, keys, needed);

        uint8 marks = result.outcome == ABANDONED ? OF_ABANDONED : 0;
        _records[result.round] = Record(bytes27(digest), uint32(block.timestamp), marks);
        emit RoundRecorded(result.round, digest, result, scores, signers, signatures);
    }

    /// @inheritdoc IRoundLedger
    function pause(uint64 until, uint256 signers, bytes calldata signatures) external {
        address code = registry.rosterCode();
        uint64 number = pauses;
        bytes32 fields = keccak256(abi.encode(PAUSE, code.codehash, number, until));
        (address[] memory keys, uint256 needed) = Rosters.read(code);
        Rosters.requireQuorum(_hashTypedDataV4(fields), signers, signatures, keys, needed);
        uint256 latest = block.timestamp + MAX_PAUSE_SECONDS;
        if (until > latest) revert PauseTooLong(latest, until);

        pauses = number + 1;
        pausedUntil = uint32(until);
        emit Paused(number, until, code.codehash, signers, signatures);
    }

    /// @inheritdoc IRoundLedger
    function dispute(uint64 round) external {
        if (msg.sender != disputes) revert NotTheDisputes(msg.sender);
        RoundState state = stateOf(round);
        if (state != RoundState.Open) revert RoundNotDisputable(round, state);
        Record storage record = _records[round];
        if (record.marks & OF_DISMISSED != 0) revert AlreadyRuled(round);
        record.marks |= OF_CHALLENGED;
        _forgetEnded();
        _disputed.push(round);
        emit RoundDisputed(round);
    }

    /// @inheritdoc IRoundLedger
    function rule(uint64 round, bool isVoid) external returns (uint64 below) {
        if (msg.sender != disputes) revert NotTheDisputes(msg.sender);
        RoundState state = stateOf(round);
        bool isUndecided = state == RoundState.Open || state == RoundState.Disputed;
        bool isPossible = isVoid ? isUndecided : _isWaiting(round);
        if (!isPossible) revert RoundNotDisputable(round, state);
        below = round + 1;
        Record storage record = _records[round];
        record.marks &= ~OF_CHALLENGED;
        record.marks |= isVoid ? OF_VOID : OF_DISMISSED;
        if (isVoid) _voided.push(Voided(round, below = nextRound()));
        emit RoundRuled(round, isVoid);
    }

    /* VIEWS */

    /// @inheritdoc IRoundLedger
    function nextRound() public view returns (uint64) {
        uint64 above = 1;
        while (_records[above - 1].recordedAt != 0) above *= 2;
        // Recorded are the rounds below `above / 2`, not that of `above - 1`.
        uint64 below = above / 2;
        while (below + 1 < above) {
            uint64 middle = (below + above) / 2;
            if (_records[middle - 1].recordedAt != 0) below = middle;
            else above = middle;
        }
        return below;
    }

    /// @inheritdoc IRoundLedger
    function resultDigest(uint64 round) external view returns (bytes27) {
        return _records[round].digest;
    }

    /// @inheritdoc IRoundLedger
    function recordedAt(uint64 round) external view returns (uint64) {
        return _records[round].recordedAt;
    }

    /// @inheritdoc IRoundLedger
    function finalAt(uint64 round) public view returns (uint256 until) {
        until = _endOf(_records[round]);
        if (until == 0) return 0;
        uint256 held = _heldUntil(round);
        if (held > until) until = held;
    }

    /// @inheritdoc IRoundLedger
    function stateOf(uint64 round) public view returns (RoundState) {
        Record memory record = _records[round];
        if (record.recordedAt == 0) return RoundState.None;
        if (_isVoid(round)) return RoundState.Void;
        bool isChallenged = record.marks & OF_CHALLENGED != 0;
        if (block.timestamp < _endOf(record)) return isChallenged ? RoundState.Disputed : RoundState.Open;
        if (block.timestamp < _heldUntil(round)) return RoundState.Disputed;
        return record.marks & OF_ABANDONED == 0 ? RoundState.Final : RoundState.Abandoned;
    }

    /// @inheritdoc IRoundLedger
    function hashResult(RoundResult calldata result) external pure returns (bytes32) {
        return RoundResults.hash(result);
    }

    /// @inheritdoc IRoundLedger
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /* INTERNAL: DISPUTES */

    /// @dev When the round's own time is over; zero if it is not recorded.
    function _endOf(Record memory record) private view returns (uint256) {
        if (record.recordedAt == 0) return 0;
        uint256 ruling = record.marks & OF_CHALLENGED == 0 ? 0 : rulingSeconds;
        return ruling + record.recordedAt + disputeWindowSeconds;
    }

    /// @dev Until when a challenge of this or an earlier round holds it: its rewards contain theirs.
    function _heldUntil(uint64 round) private view returns (uint256 until) {
        uint256 count = _disputed.length;
        for (uint256 place; place < count; ++place) {
            uint64 earlier = _disputed[place];
            if (earlier > round || !_isWaiting(earlier)) continue;
            uint256 end = _endOf(_records[earlier]);
            if (end > until) until = end;
        }
    }

    /// @dev Whether a quorum can still rule on the challenge of this round.
    function _isWaiting(uint64 round) private view returns (bool) {
        Record memory record = _records[round];
        bool isChallenged = record.marks & OF_CHALLENGED != 0;
        return isChallenged && block.timestamp < _endOf(record) && !_isVoid(round);
    }

    function _isVoid(uint64 round) private view returns (bool) {
        for (uint256 above = _voided.length; above != 0; --above) {
            Voided memory range = _voided[above - 1];
            if (round >= range.below) return false;
            if (round >= range.first) return true;
        }
        return false;
    }

    function _forgetEnded() private {
        uint256 kept;
        uint256 count = _disputed.length;
        for (uint256 place; place < count; ++place) {
            uint64 earlier = _disputed[place];
            if (_isWaiting(earlier)) _disputed[kept++] = earlier;
        }
        for (; count > kept; --count) _disputed.pop();
    }

    /* INTERNAL: RESULTS */

    function _checkSequence(RoundResult calldata result) private view {
        uint64 round = result.round;
        bytes27 last = round == 0 ? bytes27(0) : _records[round - 1].digest;
        bool isNext = _records[round].recordedAt == 0 && (round == 0 || last != 0);
        if (!isNext) revert RoundOutOfSequence(nextRound(), round);
        bool follows = round == 0 ? result.previous == 0 : bytes27(result.previous) == last;
        if (!follows) revert PreviousMismatch(last, result.previous);
    }

    /// @dev The signers by roster index, and the quorum, of the roster that made the result; it is the recording one
    /// from now on, if it was not.
    function _recordingRoster(bytes32 config) private returns (address[] memory keys, uint256 needed) {
        address code = _recordingCode;
        if (code == address(0) || code.codehash != config) {
            uint64 version;
            (code, version) = registry.rosterOf(config);
            if (code == address(0)) revert UnknownConfig(config);
            if (version < recordingVersion) revert RosterSuperseded(recordingVersion, version);
            (_recordingCode, recordingVersion) = (code, version);
        }
        return Rosters.read(code);
    }

    function _checkOutcome(RoundResult calldata result, uint256 active) private pure {
        if (result.kind > LAST_KIND) revert UnknownKind(result.kind);
        if (result.outcome != SETTLED && result.outcome != ABANDONED) revert UnknownOutcome(result.outcome);
        bool coherent = result.outcome == SETTLED ? result.dealers != 0 : result.deals == 0;
        if (!coherent) revert DealersContradictOutcome(result.outcome, result.dealers, result.deals);
        if (result.dealers & ~active != 0) revert DealersOutsideRoster(result.dealers, active);
    }

    function _checkScores(bytes32 expected, bytes calldata scores, uint256 count) private pure {
        bytes32 found = scores.length == 0 ? bytes32(0) : keccak256(scores);
        if (found != expected) revert ScoresMismatch(expected, found);
        uint256 length = scores.length == 0 ? 0 : SCORE_BYTES * count;
        if (scores.length != length) revert ScoresLengthMismatch(length, scores.length);
    }
}
