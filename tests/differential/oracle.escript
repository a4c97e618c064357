#!/usr/bin/env escript
%%! -noshell +S 1:1 +sbwt none
%% What OTP does: reads scenarios, plays each on real supervisors, prints what could be seen.
%%
%% A scenario is one line, an Erlang term made by scenario.py; the answer is one line of JSON
%% for each step: what the call returned, what calls made meanwhile returned, what was started
%% and stopped since the last step, who gave up, and the tree. Nothing here waits for time to
%% pass: a step is over when every supervisor has answered, nobody is restarting, and every
%% process that was seen in the tree still lives.
-module(oracle).
-mode(compile).
-export([main/1, init/1, log/2, start/2, start_dynamic/2, worker/2, shim/3]).

main(_) ->
    ok = logger:remove_handler(default),
    ok = logger:add_handler(oracle, ?MODULE, #{}),
    ets:new(facts, [named_table, public]),
    ets:new(journal, [named_table, public, ordered_set]),
    ets:new(gave_up, [named_table, public, ordered_set]),
    ets:new(bent, [named_table, public]),
    ets:new(meanwhile, [named_table, public, ordered_set]),
    io:setopts([{binary, true}]),
    loop().

loop() ->
    case io:get_line('') of
        eof -> ok;
        Line ->
            {ok, Tokens, _} = erl_scan:string(binary_to_list(Line)),
            {ok, Scenario} = erl_parse:parse_term(Tokens),
            {Player, Ref} = spawn_monitor(fun() -> play(Scenario) end),
            receive
                {'DOWN', Ref, process, Player, normal} -> say(#{"end" => true});
                {'DOWN', Ref, process, Player, Why} -> broken(Why)
            after 10000 ->
                Stack = process_info(Player, [current_stacktrace, messages]),
                exit(Player, kill),
                receive {'DOWN', Ref, process, Player, _} -> broken({timeout, Stack}) end
            end,
            loop()
    end.

broken(Why) ->
    say(#{"broken" => text(Why)}).

text(Term) ->
    Flat = lists:flatten(io_lib:format("~0p", [Term])),
    list_to_binary([case Char of $" -> $'; $\\ -> $/; $\n -> $ ; _ -> Char end || Char <- Flat]).

%% -- playing a scenario ------------------------------------------------------------------

play({Root, Plans, Ops, Switches}) ->
    process_flag(trap_exit, true),
    [ets:delete_all_objects(Table) || Table <- [facts, journal, gave_up, bent, meanwhile]],
    {Dead, Ref} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Ref, process, Dead, _} -> ok end,
    ets:insert(facts, [{player, self()}, {dead, Dead}]),
    [ets:insert(facts, {Switch, true}) || Switch <- Switches],
    [ets:insert(facts, {{plan, Path}, list_to_tuple(Plan)}) || {Path, Plan} <- Plans],
    Result = case start([], Root) of
        {ok, Pid} -> put(root, Pid), word(ok);
        Failed -> failed(Failed, [])
    end,
    case get(root) of
        undefined -> observe(Result, null, word(failed));
        _ -> steps(settle(Result), Ops)
    end.

steps(ended, _) -> ok;
steps(alive, []) ->
    exit(get(root), shutdown),
    settle(word(ok));
steps(alive, [Op | Ops]) ->
    steps(settle(perform(Op)), Ops).

settle(Result) ->
    case rest(100000) of
        {ended, How} -> observe(Result, null, How), ended;
        {alive, Tree} -> observe(Result, Tree, null), alive
    end.

%% Waits until nothing can happen any more; returns the tree as it is then.
rest(0) -> exit(restless);
rest(Left) ->
    Root = get(root),
    case is_process_alive(Root) of
        false -> receive {'EXIT', Root, Reason} -> {ended, how(Reason)} end;
        true ->
            put(seen, [Root]),
            try {picture(Root, []), lists:all(fun is_process_alive/1, get(seen))} of
                {Tree, true} -> {alive, Tree};
                {_, false} -> erlang:yield(), rest(Left - 1)
            catch
                throw:restless -> erlang:yield(), rest(Left - 1);
                exit:_ -> erlang:yield(), rest(Left - 1)
            end
    end.

picture(Sup, Path) ->
    Rows = [picture_of(Row, Path) || Row <- lists:reverse(supervisor:which_children(Sup))],
    case is_dynamic(Path) of
        true -> lists:sort(Rows);
        false -> Rows
    end.

picture_of({_, restarting, _, _}, _) -> throw(restless);
picture_of({Id, undefined, _, _}, _) -> [word(Id), word(undefined), null];
picture_of({_, Pid, Type, _}, _) ->
    Path = path_of(Pid),
    put(seen, [Pid | get(seen)]),
    Inside = case Type of
        supervisor ->
            Sup = fact({sup, Path}),
            put(seen, [Sup | get(seen)]),
            picture(Sup, Path);
        worker -> null
    end,
    [word(lists:last(Path)), word(running), Inside].

how(Reason) ->
    case ets:member(facts, {gave_up, get(root)}) of
        true -> word(gave_up);
        false -> case is_clean(Reason) of true -> word(clean); false -> word(crash) end
    end.

is_clean(normal) -> true;
is_clean(shutdown) -> true;
is_clean({shutdown, _}) -> true;
is_clean(_) -> false.

observe(Result, Tree, Ended) ->
    say(#{
        "result" => Result,
        "answers" => [[word(element(1, Op)), answer(Ref, Op)] || {_, Ref, Op} <- take(meanwhile)],
        "journal" => [[word(What), path(Path)] || {_, What, Path} <- take(journal)],
        "gave_up" => [path(Path) || {_, Path} <- take(gave_up)],
        "bent" => length(take(bent)),
        "tree" => Tree,
        "ended" => Ended
    }).

take(Table) ->
    Rows = ets:tab2list(Table),
    ets:delete_all_objects(Table),
    Rows.

%% -- operations ----------------------------------------------------------------------------

perform({exit_root, _, _, _, [{_, Reason}]}) ->
    ok = sys:terminate(get(root), Reason),
    word(done);
perform({exits, Path, _, _, Exits}) ->
    case living_sup(Path) of
        none -> word(gone);
        Sup when length(Exits) =:= 1 -> [leave(Sup, Path, Exit, false) || Exit <- Exits];
        Sup ->
            ok = sys:suspend(Sup),
            Results = [leave(Sup, Path, Exit, true) || Exit <- Exits],
            ok = sys:resume(Sup),
            Results
    end;
perform({_, Path, _, _, _} = Op) ->
    case living_sup(Path) of
        none -> word(gone);
        Sup ->
            try gen_server:call(Sup, request(Op), infinity) of Reply -> tagged(Op, Reply)
            catch exit:_ -> word(gone)
            end
    end.

%% Lets one child end. With Noted its supervisor is suspended and has the exit in its queue.
leave(Sup, Path, {Id, Reason}, Noted) ->
    Pid = fact({pid, Path ++ [Id]}),
    case is_pid(Pid) andalso is_process_alive(Pid) of
        false -> word(dead);
        true ->
            Ref = monitor(process, Pid),
            case living_sup(Path ++ [Id]) of
                none when Reason =:= killed -> exit(Pid, kill);
                none -> Pid ! {leave, Reason};
                Inner -> ok = sys:terminate(Inner, Reason)
            end,
            receive {'DOWN', Ref, process, Pid, _} -> ok end,
            Noted andalso await_exit(Sup, Pid),
            word(done)
    end.

await_exit(Sup, Pid) ->
    {messages, Messages} = process_info(Sup, messages),
    case lists:any(fun({'EXIT', P, _}) -> P =:= Pid; (_) -> false end, Messages) of
        true -> ok;
        false -> erlang:yield(), await_exit(Sup, Pid)
    end.

%% The management calls as supervisor sends them to itself: so that a call can be put into a
%% supervisor's queue at a given moment, by its own start function.
request({start_child, Path, _, Spec, _}) ->
    case is_dynamic(Path) of
        true -> {start_child, [Spec]};
        false -> {start_child, child_spec(Path, Spec)}
    end;
request({which_children, _, _, _, _}) -> which_children;
request({count_children, _, _, _, _}) -> count_children;
request({Call, Path, Id, _, _}) ->
    case is_dynamic(Path) of
        true ->
            case fact({pid, Path ++ [Id]}) of
                none -> {Call, fact(dead)};
                Pid -> {Call, Pid}
            end;
        false -> {Call, Id}
    end.

answer(Ref, Op) ->
    receive {Ref, Reply} -> tagged(Op, Reply) after 0 -> word(gone) end.

%% Whose answer it is decides which differences apply.
tagged({_, Path, _, _, _} = Op, Reply) ->
    case is_dynamic(Path) of
        true -> #{"dynamic" => reply(Op, Reply)};
        false -> reply(Op, Reply)
    end.

reply({which_children, _, _, _, _}, Rows) ->
    [[word(Id), state_of(Pid), word(Type)] || {Id, Pid, Type, _} <- Rows];
reply({count_children, _, _, _, _}, Counts) ->
    [proplists:get_value(Key, Counts) || Key <- [specs, active, supervisors, workers]];
reply({get_childspec, _, _, _, _}, {ok, #{restart := Restart, type := Type} = Map}) ->
    [word(Restart), word(Type), maps:get(significant, Map, false)];
reply(_, ok) -> word(ok);
reply(_, {ok, undefined}) -> word(ignored);
reply(_, {ok, Pid}) when is_pid(Pid) -> word(started);
reply(_, {error, {already_started, _}}) -> word(already_started);
reply(_, {error, {bad_combination, _}}) -> word(bad_combination);
reply({start_child, Path, _, #{id := Id}, _}, {error, {Reason, Child}}) when element(1, Child) =:= child ->
    failed({error, Reason}, Path ++ [Id]);
reply({start_child, Path, _, #{id := Id}, _}, {error, Reason}) when not is_atom(Reason) ->
    failed({error, Reason}, Path ++ [Id]);
reply({start_child, Path, _, #{id := Id}, _}, {error, planned}) ->
    failed({error, planned}, Path ++ [Id]);
reply({restart_child, Path, Id, _, _}, {error, Reason}) when not is_atom(Reason); Reason =:= planned ->
    failed({error, Reason}, Path ++ [Id]);
reply(_, {error, Word}) when is_atom(Word) -> word(Word);
reply(_, Other) -> text(Other).

failed({error, {shutdown, {failed_to_start_child, Id, Reason}}}, Path) ->
    failed({error, Reason}, Path ++ [Id]);
failed({error, _}, Path) -> [word(start_failed), path(Path)];
failed(ignore, _) -> word(ignore).

state_of(restarting) -> word(restarting);
state_of(undefined) -> word(undefined);
state_of(Pid) when is_pid(Pid) -> word(running).

%% -- supervisors and workers ---------------------------------------------------------------

start(Path, Spec) ->
    ask_meanwhile(Path),
    start_it(Path, Spec).

start_it(Path, #{kind := worker}) ->
    case begin_start(Path) of
        ok -> proc_lib:start_link(?MODULE, worker, [self(), Path]);
        Other -> Other
    end;
start_it(Path, #{restart := transient} = Spec) ->
    case ets:member(facts, giving_up_is_abnormal) andalso Path =/= [] of
        true -> proc_lib:start_link(?MODULE, shim, [self(), Path, Spec]);
        false -> start_sup(Path, Spec)
    end;
start_it(Path, Spec) -> start_sup(Path, Spec).

start_dynamic(Path, #{id := Id} = Spec) -> start(Path ++ [Id], Spec).

start_sup(Path, Spec) ->
    case supervisor:start_link(?MODULE, {Path, Spec}) of
        {ok, Pid} = Started -> register_as(pid, Path, Pid), Started;
        Other -> Other
    end.

%% Stands between a transient supervisor and its parent, and makes giving up an abnormal exit
%% (differences.py: GIVING_UP).
shim(Parent, Path, Spec) ->
    process_flag(trap_exit, true),
    case start_sup(Path, Spec) of
        {ok, Sup} ->
            register_as(pid, Path, self()),
            proc_lib:init_ack({ok, self()}),
            receive
                {'EXIT', Parent, Reason} ->
                    exit(Sup, Reason),
                    receive {'EXIT', Sup, Last} -> exit(Last) end;
                {'EXIT', Sup, Reason} ->
                    case ets:member(facts, {gave_up, Sup}) of
                        true -> ets:insert(bent, {Path}), exit(gave_up);
                        false -> exit(Reason)
                    end
            end;
        ignore -> proc_lib:init_ack(ignore);
        {error, Reason} -> exit(Reason)
    end.

init({Path, #{kind := Kind} = Spec}) ->
    ets:insert(facts, [{{sup, Path}, self()}, {{path, self()}, Path}, {{kind, Path}, Kind}]),
    case begin_start(Path) of
        ok -> {ok, {flags(Spec), children(Path, Spec)}};
        ignore -> ignore;
        {error, Reason} -> exit(Reason)
    end.

flags(#{kind := dynamic, max_restarts := Limit}) ->
    #{strategy => simple_one_for_one, intensity => Limit, period => 3600};
flags(#{strategy := Strategy, max_restarts := Limit, auto_shutdown := Auto}) ->
    #{strategy => Strategy, intensity => Limit, period => 3600, auto_shutdown => Auto}.

children(Path, #{kind := dynamic, children := [Template]}) ->
    [(child_spec(Path, Template))#{start := {?MODULE, start_dynamic, [Path]}}];
children(Path, #{children := Children}) ->
    [child_spec(Path, Child) || Child <- Children].

child_spec(Path, #{id := Id, kind := Kind} = Spec) ->
    Common = maps:with([id, restart, significant, shutdown], Spec),
    Common#{
        start => {?MODULE, start, [Path ++ [Id], Spec]},
        type => case Kind of worker -> worker; _ -> supervisor end
    }.

worker(Parent, Path) ->
    process_flag(trap_exit, true),
    register_as(pid, Path, self()),
    proc_lib:init_ack({ok, self()}),
    receive
        {leave, Reason} -> exit(Reason);
        {'EXIT', Parent, Reason} -> write(stop, Path), exit(Reason)
    end.

%% Follows the plan for the n-th start of this path.
begin_start(Path) ->
    write(start, Path),
    {Outcome, _} = planned(Path),
    ets:update_counter(facts, {starts, Path}, 1, {{starts, Path}, 0}),
    case Outcome of
        ok -> ok;
        ignore -> ignore;
        error -> {error, planned};
        raise -> error(planned);
        exit -> exit(planned)
    end.

%% What is to be asked of the supervisor while this start goes on is put into its queue now,
%% ahead of its own next try. This is the supervisor's process.
ask_meanwhile(Path) ->
    case planned(Path) of
        {_, none} -> ok;
        {_, Op} ->
            Ref = make_ref(),
            ets:insert(meanwhile, {erlang:unique_integer([monotonic]), Ref, Op}),
            self() ! {'$gen_call', {fact(player), Ref}, request(Op)}
    end.

planned(Path) ->
    Number = case fact({starts, Path}) of none -> 1; Starts -> Starts + 1 end,
    case fact({plan, Path}) of
        Plan when is_tuple(Plan), Number =< tuple_size(Plan) -> element(Number, Plan);
        _ -> {ok, none}
    end.

%% -- facts ---------------------------------------------------------------------------------

register_as(Kind, Path, Pid) -> ets:insert(facts, [{{Kind, Path}, Pid}, {{path, Pid}, Path}]).

fact(Key) ->
    case ets:lookup(facts, Key) of [{_, Value}] -> Value; [] -> none end.

path_of(Pid) -> fact({path, Pid}).

is_dynamic(Path) -> fact({kind, Path}) =:= dynamic.

living_sup(Path) ->
    Sup = fact({sup, Path}),
    case is_pid(Sup) andalso is_process_alive(Sup) of true -> Sup; false -> none end.

write(What, Path) -> ets:insert(journal, {erlang:unique_integer([monotonic]), What, Path}).

%% The handler of all log events; runs in the process that logs.
log(#{msg := {report, #{label := {supervisor, shutdown}, report := Report}}}, _) ->
    case proplists:get_value(reason, Report) of
        reached_max_restart_intensity ->
            ets:insert(facts, {{gave_up, self()}, true}),
            ets:insert(gave_up, {erlang:unique_integer([monotonic]), path_of(self())});
        _ -> ok
    end;
log(_, _) -> ok.

%% -- JSON ----------------------------------------------------------------------------------

%% Strings are binaries here, so that lists are lists.
word(Atom) -> atom_to_binary(Atom).

path(Path) -> iolist_to_binary(lists:join("/", [atom_to_list(Id) || Id <- Path])).

say(Map) -> io:put_chars([json(Map), $\n]).

json(null) -> "null";
json(true) -> "true";
json(false) -> "false";
json(Number) when is_integer(Number) -> integer_to_list(Number);
json(Text) when is_binary(Text) -> [$", Text, $"];
json(List) when is_list(List) -> [$[, lists:join($,, [json(Item) || Item <- List]), $]];
json(Map) when is_map(Map) ->
    [${, lists:join($,, [[$", Key, $", $:, json(Value)] || {Key, Value} <- maps:to_list(Map)]), $}].
